-- What was sold each day?
-- Grain: one UTC day in one currency. A day without lines in a currency has no row.
-- Units and revenue of daily_sales add up over its other columns; its `orders` do not, so they are not shown here.
SELECT
    order_date,
    currency,
    sum(units) AS units,
    sum(revenue) AS revenue
FROM daily_sales
GROUP BY order_date, currency
ORDER BY order_date, currency
