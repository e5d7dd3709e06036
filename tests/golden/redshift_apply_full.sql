-- lock out other publishes
LOCK "shop"."publish_state";

-- check: publish what follows on an empty sink, which is not what the sink shows: plan it again
SELECT CAST(CASE WHEN coalesce(max("publish_id"), '') = '' OR (max("publish_id") = 'p2' AND max("versions") = '{"dim_order":8,"fact_sales":7}') THEN '0' ELSE 'it shows the publish ' || coalesce(max("publish_id"), '(none)') END AS INTEGER)
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

-- check: publish dim_user: rows are staged whose user_id is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_user: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_dim_user" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_user_keys" AS changed WHERE changed."user_id" = staged."user_id");

-- check: publish dim_user: a key is staged twice
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_user: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice' END AS INTEGER)
FROM (SELECT "user_id" FROM "shop"."stage_p2_dim_user" GROUP BY "user_id" HAVING count(*) > 1) AS repeated;

-- check: publish dim_product: rows are staged whose sku is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_product: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_dim_product" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_product_keys" AS changed WHERE changed."sku" = staged."sku");

-- check: publish dim_product: a key is staged twice
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_product: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice' END AS INTEGER)
FROM (SELECT "sku" FROM "shop"."stage_p2_dim_product" GROUP BY "sku" HAVING count(*) > 1) AS repeated;

-- check: publish dim_order: rows are staged whose order_id is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_order: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_dim_order" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_dim_order_keys" AS changed WHERE changed."order_id" = staged."order_id");

-- check: publish dim_order: a key is staged twice
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'dim_order: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice' END AS INTEGER)
FROM (SELECT "order_id" FROM "shop"."stage_p2_dim_order" GROUP BY "order_id" HAVING count(*) > 1) AS repeated;

-- check: publish fact_sales: rows are staged whose order_id is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'fact_sales: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_fact_sales" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_fact_sales_keys" AS changed WHERE changed."order_id" = staged."order_id");

-- check: publish fact_sales: a key is staged twice
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'fact_sales: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice' END AS INTEGER)
FROM (SELECT "order_id", "line_no" FROM "shop"."stage_p2_fact_sales" GROUP BY "order_id", "line_no" HAVING count(*) > 1) AS repeated;

-- check: publish daily_sales: rows are staged whose order_date is not staged as changed
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'daily_sales: ' || CAST(count(*) AS VARCHAR(20)) || ' staged rows without their key' END AS INTEGER)
FROM "shop"."stage_p2_daily_sales" AS staged
WHERE NOT EXISTS (SELECT 1 FROM "shop"."stage_p2_daily_sales_keys" AS changed WHERE changed."order_date" = staged."order_date");

-- check: publish daily_sales: a key is staged twice
SELECT CAST(CASE WHEN count(*) = 0 THEN '0' ELSE 'daily_sales: ' || CAST(count(*) AS VARCHAR(20)) || ' keys are staged twice' END AS INTEGER)
FROM (SELECT "order_date", "currency", "country", "category", "source" FROM "shop"."stage_p2_daily_sales" GROUP BY "order_date", "currency", "country", "category", "source" HAVING count(*) > 1) AS repeated;

-- delete the changed rows of dim_user
DELETE FROM "shop"."dim_user"
WHERE "user_id" IN (SELECT "user_id" FROM "shop"."stage_p2_dim_user_keys");

-- insert the staged rows of dim_user
INSERT INTO "shop"."dim_user" ("user_id", "email", "created_at", "country", "is_inferred", "version_at", "content_hash", "source_file", "source_modified_at", "run_id")
SELECT "user_id", "email", "created_at" AT TIME ZONE 'UTC', "country", "is_inferred", "version_at" AT TIME ZONE 'UTC', "content_hash", "source_file", "source_modified_at" AT TIME ZONE 'UTC', "run_id"
FROM "shop"."stage_p2_dim_user";

-- delete the changed rows of dim_product
DELETE FROM "shop"."dim_product"
WHERE "sku" IN (SELECT "sku" FROM "shop"."stage_p2_dim_product_keys");

-- insert the staged rows of dim_product
INSERT INTO "shop"."dim_product" ("sku", "name", "category", "price", "is_inferred", "version_at", "content_hash", "source_file", "source_modified_at", "run_id")
SELECT "sku", "name", "category", "price", "is_inferred", "version_at" AT TIME ZONE 'UTC', "content_hash", "source_file", "source_modified_at" AT TIME ZONE 'UTC', "run_id"
FROM "shop"."stage_p2_dim_product";

-- delete the changed rows of dim_order
DELETE FROM "shop"."dim_order"
WHERE "order_id" IN (SELECT "order_id" FROM "shop"."stage_p2_dim_order_keys");

-- insert the staged rows of dim_order
INSERT INTO "shop"."dim_order" ("order_id", "order_date", "created_at", "version_at", "user_id", "amount", "currency", "source", "promo", "line_count", "is_deleted", "content_hash", "source_file", "source_modified_at", "run_id")
SELECT "order_id", "order_date", "created_at" AT TIME ZONE 'UTC', "version_at" AT TIME ZONE 'UTC', NULLIF("user_id", ''), "amount", "currency", "source", "promo", "line_count", "is_deleted", "content_hash", "source_file", "source_modified_at" AT TIME ZONE 'UTC', "run_id"
FROM "shop"."stage_p2_dim_order";

-- delete the changed rows of fact_sales
DELETE FROM "shop"."fact_sales"
WHERE "order_id" IN (SELECT "order_id" FROM "shop"."stage_p2_fact_sales_keys");

-- insert the staged rows of fact_sales
INSERT INTO "shop"."fact_sales" ("order_id", "line_no", "order_date", "created_at", "user_id", "sku", "qty", "unit_price", "line_amount", "currency", "version_at", "run_id")
SELECT "order_id", "line_no", "order_date", "created_at" AT TIME ZONE 'UTC', NULLIF("user_id", ''), "sku", "qty", "unit_price", "line_amount", "currency", "version_at" AT TIME ZONE 'UTC', "run_id"
FROM "shop"."stage_p2_fact_sales";

-- delete the changed rows of daily_sales
DELETE FROM "shop"."daily_sales"
WHERE "order_date" IN (SELECT "order_date" FROM "shop"."stage_p2_daily_sales_keys");

-- insert the staged rows of daily_sales
INSERT INTO "shop"."daily_sales" ("order_date", "currency", "country", "category", "source", "orders", "units", "revenue")
SELECT "order_date", "currency", "country", "category", "source", "orders", "units", "revenue"
FROM "shop"."stage_p2_daily_sales";

-- forget the last publish
DELETE FROM "shop"."publish_state";

-- write the state of the sink
INSERT INTO "shop"."publish_state" ("publish_id", "versions", "published_at")
VALUES ('p2', '{"dim_order":8,"fact_sales":7}', '2026-03-01 12:00:00.000000+00');
