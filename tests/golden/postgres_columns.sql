-- read the columns of the published tables
SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull, EXISTS (
  SELECT 1 FROM pg_catalog.pg_index AS i
  WHERE i.indrelid = t.oid AND i.indisprimary AND c.attnum = ANY (i.indkey)
)
FROM pg_catalog.pg_attribute AS c
JOIN pg_catalog.pg_class AS t ON t.oid = c.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
WHERE n.nspname = 'shop' AND t.relname IN ('dim_user', 'dim_product', 'dim_order', 'fact_sales', 'daily_sales', 'publish_state')
  AND c.attnum > 0 AND NOT c.attisdropped
ORDER BY t.relname, c.attnum;
