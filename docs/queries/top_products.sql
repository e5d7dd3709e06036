-- What sells best?
-- Grain: one product in one currency; the ten with the highest revenue of each currency.
-- `name` is empty for a product that orders name and products.csv does not have (yet).
WITH sold AS (
    SELECT
        coalesce(nullif(currency, ''), 'unknown') AS currency,
        sku,
        count(DISTINCT order_id) AS orders,
        sum(qty) AS units,
        coalesce(sum(line_amount), 0) AS revenue
    FROM fact_sales
    GROUP BY ALL
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY currency ORDER BY revenue DESC, sku) AS place
    FROM sold
)

SELECT
    ranked.currency,
    ranked.place,
    ranked.sku,
    dim_product.name,
    dim_product.category,
    ranked.orders,
    ranked.units,
    ranked.revenue
FROM ranked
LEFT JOIN dim_product ON ranked.sku = dim_product.sku
WHERE ranked.place <= 10
ORDER BY ranked.currency, ranked.place
