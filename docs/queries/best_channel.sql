-- Which channel brings most?
-- Grain: one channel (`metadata.source` of the order) in one currency; place 1 is the best of its currency.
-- `share` is its part of the currency's revenue, `revenue_per_order` what an order with lines brings on average.
WITH sold AS (
    SELECT
        coalesce(nullif(fact_sales.currency, ''), 'unknown') AS currency,
        coalesce(nullif(dim_order.source, ''), 'unknown') AS channel,
        count(DISTINCT fact_sales.order_id) AS orders,
        coalesce(sum(fact_sales.line_amount), 0) AS revenue
    FROM fact_sales
    INNER JOIN dim_order ON fact_sales.order_id = dim_order.order_id
    GROUP BY ALL
)

SELECT
    currency,
    row_number() OVER (PARTITION BY currency ORDER BY revenue DESC, channel) AS place,
    channel,
    orders,
    revenue,
    round(revenue / orders, 4) AS revenue_per_order,
    round(try_divide(revenue, sum(revenue) OVER (PARTITION BY currency)), 4) AS share
FROM sold
ORDER BY currency, place
