-- begin the publish
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;

-- limit the wait for the lock
SET LOCAL lock_timeout = '300s';

-- lock out other publishes
LOCK TABLE "shop"."publish_state" IN SHARE ROW EXCLUSIVE MODE;

-- check: publish what follows on an empty sink, which is not what the sink shows: plan it again
SELECT CAST(CASE WHEN coalesce(max("publish_id"), '') = '' OR (max("publish_id") = 'p2' AND CAST(max(CAST("versions" AS text)) AS jsonb) = '{"dim_order":8,"fact_sales":7}') THEN '0' ELSE 'it shows the publish ' || coalesce(max("publish_id"), '(none)') END AS INTEGER)
FROM "shop"."publish_state";

-- mark all of dim_user as changed
INSERT INTO "shop"."stage_p2_dim_user_keys" ("user_id")
SELECT "user_id" FROM "shop"."dim_user"
UNION SELECT "user_id" FROM "shop"."stage_p2_dim_user";

-- mark all of dim_product as changed
INSERT INTO "shop"."stage_p2_dim_product_keys" ("sku")
SELECT "sku" FROM "shop"."dim_product"
UNION SELECT "sku" FROM "shop"."stage_p2_dim_product";

-- mark all of dim_order as changed
INSERT INTO "shop"."stage_p2_dim_order_keys" ("order_id")
SELECT "order_id" FROM "shop"."dim_order"
UNION SELECT "order_id" FROM "shop"."stage_p2_dim_order";

-- mark all of fact_sales as changed
INSERT INTO "shop"."stage_p2_fact_sales_keys" ("order_id")
SELECT "order_id" FROM "shop"."fact_sales"
UNION SELECT "order_id" FROM "shop"."stage_p2_fact_sales";

-- mark all of daily_sales as changed
INSERT INTO "shop"."stage_p2_daily_sales_keys" ("order_date")
SELECT "order_date" FROM "shop"."daily_sales"
UNION SELECT "order_date" FROM "shop"."stage_p2_daily_sales";

-- take statistics of what is staged
ANALYZE
  "shop"."stage_p2_dim_user",
  "shop"."stage_p2_dim_user_keys",
  "shop"."stage_p2_dim_product",
  "shop"."stage_p2_dim_product_keys",
  "shop"."stage_p2_dim_order",
  "shop"."stage_p2_dim_order_keys",
  "shop"."stage_p2_fact_sales",
  "shop"."stage_p2_fact_sales_keys",
  "shop"."stage_p2_daily_sales",
  "shop"."stage_p2_daily_sales_keys";

-- check: publish dim_user: rows are staged whose user_id is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_user: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_dim_user" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_user_keys" AS changed WHERE changed."user_id" = staged."user_id");

-- check: publish dim_product: rows are staged whose sku is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_product: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_dim_product" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_product_keys" AS changed WHERE changed."sku" = staged."sku");

-- check: publish dim_order: rows are staged whose order_id is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_order: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_dim_order" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_order_keys" AS changed WHERE changed."order_id" = staged."order_id");

-- check: publish fact_sales: rows are staged whose order_id is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'fact_sales: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_fact_sales" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_fact_sales_keys" AS changed WHERE changed."order_id" = staged."order_id");

-- check: publish daily_sales: rows are staged whose order_date is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'daily_sales: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_daily_sales" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_daily_sales_keys" AS changed WHERE changed."order_date" = staged."order_date");

-- insert or update the staged rows of dim_user
INSERT INTO "shop"."dim_user" AS existing ("user_id", "email", "created_at", "country", "is_inferred", "version_at", "content_hash", "source_file", "source_modified_at", "run_id")
SELECT DISTINCT "user_id", "email", "created_at", "country", "is_inferred", "version_at", "content_hash", "source_file", "source_modified_at", "run_id"
FROM "shop"."stage_p2_dim_user"
ON CONFLICT ("user_id") DO UPDATE SET "email" = excluded."email", "created_at" = excluded."created_at", "country" = excluded."country", "is_inferred" = excluded."is_inferred", "version_at" = excluded."version_at", "content_hash" = excluded."content_hash", "source_file" = excluded."source_file", "source_modified_at" = excluded."source_modified_at", "run_id" = excluded."run_id"
WHERE (existing."email", existing."created_at", existing."country", existing."is_inferred", existing."version_at", existing."content_hash", existing."source_file", existing."source_modified_at", existing."run_id")
  IS DISTINCT FROM (excluded."email", excluded."created_at", excluded."country", excluded."is_inferred", excluded."version_at", excluded."content_hash", excluded."source_file", excluded."source_modified_at", excluded."run_id");

-- delete what has gone from dim_user
DELETE FROM "shop"."dim_user" AS existing
USING "shop"."stage_p2_dim_user_keys" AS changed
WHERE existing."user_id" = changed."user_id"
  AND NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_user" AS staged WHERE staged."user_id" = existing."user_id");

-- insert or update the staged rows of dim_product
INSERT INTO "shop"."dim_product" AS existing ("sku", "name", "category", "price", "is_inferred", "version_at", "content_hash", "source_file", "source_modified_at", "run_id")
SELECT DISTINCT "sku", "name", "category", "price", "is_inferred", "version_at", "content_hash", "source_file", "source_modified_at", "run_id"
FROM "shop"."stage_p2_dim_product"
ON CONFLICT ("sku") DO UPDATE SET "name" = excluded."name", "category" = excluded."category", "price" = excluded."price", "is_inferred" = excluded."is_inferred", "version_at" = excluded."version_at", "content_hash" = excluded."content_hash", "source_file" = excluded."source_file", "source_modified_at" = excluded."source_modified_at", "run_id" = excluded."run_id"
WHERE (existing."name", existing."category", existing."price", existing."is_inferred", existing."version_at", existing."content_hash", existing."source_file", existing."source_modified_at", existing."run_id")
  IS DISTINCT FROM (excluded."name", excluded."category", excluded."price", excluded."is_inferred", excluded."version_at", excluded."content_hash", excluded."source_file", excluded."source_modified_at", excluded."run_id");

-- delete what has gone from dim_product
DELETE FROM "shop"."dim_product" AS existing
USING "shop"."stage_p2_dim_product_keys" AS changed
WHERE existing."sku" = changed."sku"
  AND NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_product" AS staged WHERE staged."sku" = existing."sku");

-- insert or update the staged rows of dim_order
INSERT INTO "shop"."dim_order" AS existing ("order_id", "order_date", "created_at", "version_at", "user_id", "amount", "currency", "source", "promo", "line_count", "is_deleted", "content_hash", "source_file", "source_modified_at", "run_id")
SELECT DISTINCT "order_id", "order_date", "created_at", "version_at", NULLIF("user_id", ''), "amount", "currency", "source", "promo", "line_count", "is_deleted", "content_hash", "source_file", "source_modified_at", "run_id"
FROM "shop"."stage_p2_dim_order"
ON CONFLICT ("order_id") DO UPDATE SET "order_date" = excluded."order_date", "created_at" = excluded."created_at", "version_at" = excluded."version_at", "user_id" = excluded."user_id", "amount" = excluded."amount", "currency" = excluded."currency", "source" = excluded."source", "promo" = excluded."promo", "line_count" = excluded."line_count", "is_deleted" = excluded."is_deleted", "content_hash" = excluded."content_hash", "source_file" = excluded."source_file", "source_modified_at" = excluded."source_modified_at", "run_id" = excluded."run_id"
WHERE (existing."order_date", existing."created_at", existing."version_at", existing."user_id", existing."amount", existing."currency", existing."source", existing."promo", existing."line_count", existing."is_deleted", existing."content_hash", existing."source_file", existing."source_modified_at", existing."run_id")
  IS DISTINCT FROM (excluded."order_date", excluded."created_at", excluded."version_at", excluded."user_id", excluded."amount", excluded."currency", excluded."source", excluded."promo", excluded."line_count", excluded."is_deleted", excluded."content_hash", excluded."source_file", excluded."source_modified_at", excluded."run_id");

-- delete what has gone from dim_order
DELETE FROM "shop"."dim_order" AS existing
USING "shop"."stage_p2_dim_order_keys" AS changed
WHERE existing."order_id" = changed."order_id"
  AND NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_order" AS staged WHERE staged."order_id" = existing."order_id");

-- delete the changed rows of fact_sales
DELETE FROM "shop"."fact_sales"
WHERE "order_id" IN (SELECT "order_id" FROM "shop"."stage_p2_fact_sales_keys");

-- insert the staged rows of fact_sales
INSERT INTO "shop"."fact_sales" ("order_id", "line_no", "order_date", "created_at", "user_id", "sku", "qty", "unit_price", "line_amount", "currency", "version_at", "run_id")
SELECT DISTINCT "order_id", "line_no", "order_date", "created_at", NULLIF("user_id", ''), "sku", "qty", "unit_price", "line_amount", "currency", "version_at", "run_id"
FROM "shop"."stage_p2_fact_sales";

-- delete the changed rows of daily_sales
DELETE FROM "shop"."daily_sales"
WHERE "order_date" IN (SELECT "order_date" FROM "shop"."stage_p2_daily_sales_keys");

-- insert the staged rows of daily_sales
INSERT INTO "shop"."daily_sales" ("order_date", "currency", "country", "category", "source", "orders", "units", "revenue")
SELECT DISTINCT "order_date", "currency", "country", "category", "source", "orders", "units", "revenue"
FROM "shop"."stage_p2_daily_sales";

-- forget the last publish
DELETE FROM "shop"."publish_state";

-- write the state of the sink
INSERT INTO "shop"."publish_state" ("publish_id", "versions", "published_at")
VALUES ('p2', '{"dim_order":8,"fact_sales":7}', '2026-03-01 12:00:00.000000+00');
