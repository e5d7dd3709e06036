-- Who buys most?
-- Grain: one user in one currency; the ten with the highest revenue of each currency. Orders without a user are left out.
-- Deleted and empty orders have no lines, so they do not count. A line without a price adds its units and no revenue.
WITH bought AS (
    SELECT
        coalesce(nullif(currency, ''), 'unknown') AS currency,
        user_id,
        count(DISTINCT order_id) AS orders,
        sum(qty) AS units,
        coalesce(sum(line_amount), 0) AS revenue
    FROM fact_sales
    WHERE user_id <> ''
    GROUP BY ALL
),

ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY currency ORDER BY revenue DESC, user_id) AS place
    FROM bought
)

SELECT
    ranked.currency,
    ranked.place,
    ranked.user_id,
    dim_user.email,
    dim_user.country,
    ranked.orders,
    ranked.units,
    ranked.revenue
FROM ranked
LEFT JOIN dim_user ON ranked.user_id = dim_user.user_id
WHERE ranked.place <= 10
ORDER BY ranked.currency, ranked.place
