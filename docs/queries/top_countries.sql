-- Where do the buyers live?
-- Grain: one country in one currency; the ten with the highest revenue of each currency.
-- The country is the user's as dim_user has it now; `unknown` is an order without a user, or a user without a country.
-- Orders are counted from fact_sales: daily_sales counts an order once for each of its categories.
WITH sold AS (
    SELECT
        coalesce(nullif(fact_sales.currency, ''), 'unknown') AS currency,
        coalesce(nullif(dim_user.country, ''), 'unknown') AS country,
        count(DISTINCT fact_sales.user_id) AS users,
        count(DISTINCT fact_sales.order_id) AS orders,
        sum(fact_sales.qty) AS units,
        coalesce(sum(fact_sales.line_amount), 0) AS revenue
    FROM fact_sales
    LEFT JOIN dim_user ON fact_sales.user_id = dim_user.user_id
    GROUP BY ALL
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY currency ORDER BY revenue DESC, country) AS place
    FROM sold
)

SELECT
    currency,
    place,
    country,
    users,
    orders,
    units,
    revenue
FROM ranked
WHERE place <= 10
ORDER BY currency, place
