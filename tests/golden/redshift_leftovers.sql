-- list the staging tables
SELECT tablename FROM pg_catalog.pg_tables
WHERE lower(schemaname) = lower('shop') AND tablename ~ '^stage_.+_(dim_user|dim_product|dim_order|fact_sales|daily_sales)(_keys)?$'
ORDER BY tablename;
