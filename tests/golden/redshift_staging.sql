-- drop the staging tables
DROP TABLE IF EXISTS
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

-- create the staging table "shop"."stage_p2_dim_user"
CREATE TABLE "shop"."stage_p2_dim_user" (
  "user_id" VARCHAR(65535) NOT NULL,
  "email" VARCHAR(65535),
  "created_at" TIMESTAMP,
  "country" VARCHAR(65535),
  "is_inferred" BOOLEAN NOT NULL,
  "version_at" TIMESTAMP,
  "content_hash" BIGINT,
  "source_file" VARCHAR(65535),
  "source_modified_at" TIMESTAMP,
  "run_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTSTYLE EVEN;

-- create the staging table "shop"."stage_p2_dim_user_keys"
CREATE TABLE "shop"."stage_p2_dim_user_keys" (
  "user_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTSTYLE EVEN;

-- create the staging table "shop"."stage_p2_dim_product"
CREATE TABLE "shop"."stage_p2_dim_product" (
  "sku" VARCHAR(65535) NOT NULL,
  "name" VARCHAR(65535),
  "category" VARCHAR(65535),
  "price" NUMERIC(18,4),
  "is_inferred" BOOLEAN NOT NULL,
  "version_at" TIMESTAMP,
  "content_hash" BIGINT,
  "source_file" VARCHAR(65535),
  "source_modified_at" TIMESTAMP,
  "run_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTSTYLE EVEN;

-- create the staging table "shop"."stage_p2_dim_product_keys"
CREATE TABLE "shop"."stage_p2_dim_product_keys" (
  "sku" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTSTYLE EVEN;

-- create the staging table "shop"."stage_p2_dim_order"
CREATE TABLE "shop"."stage_p2_dim_order" (
  "order_id" VARCHAR(65535) NOT NULL,
  "order_date" DATE NOT NULL,
  "created_at" TIMESTAMP NOT NULL,
  "version_at" TIMESTAMP NOT NULL,
  "user_id" VARCHAR(65535),
  "amount" NUMERIC(18,4),
  "currency" VARCHAR(65535),
  "source" VARCHAR(65535),
  "promo" VARCHAR(65535),
  "line_count" INTEGER NOT NULL,
  "is_deleted" BOOLEAN NOT NULL,
  "content_hash" BIGINT NOT NULL,
  "source_file" VARCHAR(65535) NOT NULL,
  "source_modified_at" TIMESTAMP NOT NULL,
  "run_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTKEY (order_id);

-- create the staging table "shop"."stage_p2_dim_order_keys"
CREATE TABLE "shop"."stage_p2_dim_order_keys" (
  "order_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTKEY (order_id);

-- create the staging table "shop"."stage_p2_fact_sales"
CREATE TABLE "shop"."stage_p2_fact_sales" (
  "order_id" VARCHAR(65535) NOT NULL,
  "line_no" INTEGER NOT NULL,
  "order_date" DATE NOT NULL,
  "created_at" TIMESTAMP NOT NULL,
  "user_id" VARCHAR(65535),
  "sku" VARCHAR(65535) NOT NULL,
  "qty" INTEGER NOT NULL,
  "unit_price" NUMERIC(18,4),
  "line_amount" NUMERIC(29,4),
  "currency" VARCHAR(65535),
  "version_at" TIMESTAMP NOT NULL,
  "run_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTKEY (order_id);

-- create the staging table "shop"."stage_p2_fact_sales_keys"
CREATE TABLE "shop"."stage_p2_fact_sales_keys" (
  "order_id" VARCHAR(65535) NOT NULL
)
BACKUP NO
DISTKEY (order_id);

-- create the staging table "shop"."stage_p2_daily_sales"
CREATE TABLE "shop"."stage_p2_daily_sales" (
  "order_date" DATE NOT NULL,
  "currency" VARCHAR(65535) NOT NULL,
  "country" VARCHAR(65535) NOT NULL,
  "category" VARCHAR(65535) NOT NULL,
  "source" VARCHAR(65535) NOT NULL,
  "orders" BIGINT NOT NULL,
  "units" BIGINT NOT NULL,
  "revenue" NUMERIC(38,4) NOT NULL
)
BACKUP NO
DISTSTYLE EVEN;

-- create the staging table "shop"."stage_p2_daily_sales_keys"
CREATE TABLE "shop"."stage_p2_daily_sales_keys" (
  "order_date" DATE NOT NULL
)
BACKUP NO
DISTSTYLE EVEN;
