-- count the rows of the published tables
SELECT 'dim_user' AS table_name, count(*) AS row_count FROM "shop"."dim_user"
UNION ALL SELECT 'dim_product' AS table_name, count(*) AS row_count FROM "shop"."dim_product"
UNION ALL SELECT 'dim_order' AS table_name, count(*) AS row_count FROM "shop"."dim_order"
UNION ALL SELECT 'fact_sales' AS table_name, count(*) AS row_count FROM "shop"."fact_sales"
UNION ALL SELECT 'daily_sales' AS table_name, count(*) AS row_count FROM "shop"."daily_sales"
ORDER BY table_name;

-- add up the published sales
SELECT "order_date", "currency", count(*) AS row_count, sum("qty") AS units, sum("line_amount") AS line_amount
FROM "shop"."fact_sales"
GROUP BY "order_date", "currency"
ORDER BY "order_date", "currency";
