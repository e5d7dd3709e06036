-- list the staging tables
-- parameters: ["shop", "^stage_.+_(dim_user|dim_product|dim_order|fact_sales|daily_sales)(_keys)?$"]
SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename ~ %s ORDER BY tablename;
