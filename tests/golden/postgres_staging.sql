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
CREATE UNLOGGED TABLE "shop"."stage_p2_dim_user" (
  "user_id" text NOT NULL,
  "email" text,
  "created_at" timestamp with time zone,
  "country" text,
  "is_inferred" boolean NOT NULL,
  "version_at" timestamp with time zone,
  "content_hash" bigint,
  "source_file" text,
  "source_modified_at" timestamp with time zone,
  "run_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_dim_user_keys"
CREATE UNLOGGED TABLE "shop"."stage_p2_dim_user_keys" (
  "user_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_dim_product"
CREATE UNLOGGED TABLE "shop"."stage_p2_dim_product" (
  "sku" text NOT NULL,
  "name" text,
  "category" text,
  "price" numeric(18,4),
  "is_inferred" boolean NOT NULL,
  "version_at" timestamp with time zone,
  "content_hash" bigint,
  "source_file" text,
  "source_modified_at" timestamp with time zone,
  "run_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_dim_product_keys"
CREATE UNLOGGED TABLE "shop"."stage_p2_dim_product_keys" (
  "sku" text NOT NULL
);

-- create the staging table "shop"."stage_p2_dim_order"
CREATE UNLOGGED TABLE "shop"."stage_p2_dim_order" (
  "order_id" text NOT NULL,
  "order_date" date NOT NULL,
  "created_at" timestamp with time zone NOT NULL,
  "version_at" timestamp with time zone NOT NULL,
  "user_id" text,
  "amount" numeric(18,4),
  "currency" text,
  "source" text,
  "promo" text,
  "line_count" integer NOT NULL,
  "is_deleted" boolean NOT NULL,
  "content_hash" bigint NOT NULL,
  "source_file" text NOT NULL,
  "source_modified_at" timestamp with time zone NOT NULL,
  "run_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_dim_order_keys"
CREATE UNLOGGED TABLE "shop"."stage_p2_dim_order_keys" (
  "order_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_fact_sales"
CREATE UNLOGGED TABLE "shop"."stage_p2_fact_sales" (
  "order_id" text NOT NULL,
  "line_no" integer NOT NULL,
  "order_date" date NOT NULL,
  "created_at" timestamp with time zone NOT NULL,
  "user_id" text,
  "sku" text NOT NULL,
  "qty" integer NOT NULL,
  "unit_price" numeric(18,4),
  "line_amount" numeric(29,4),
  "currency" text,
  "version_at" timestamp with time zone NOT NULL,
  "run_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_fact_sales_keys"
CREATE UNLOGGED TABLE "shop"."stage_p2_fact_sales_keys" (
  "order_id" text NOT NULL
);

-- create the staging table "shop"."stage_p2_daily_sales"
CREATE UNLOGGED TABLE "shop"."stage_p2_daily_sales" (
  "order_date" date NOT NULL,
  "currency" text NOT NULL,
  "country" text NOT NULL,
  "category" text NOT NULL,
  "source" text NOT NULL,
  "orders" bigint NOT NULL,
  "units" bigint NOT NULL,
  "revenue" numeric(38,4) NOT NULL
);

-- create the staging table "shop"."stage_p2_daily_sales_keys"
CREATE UNLOGGED TABLE "shop"."stage_p2_daily_sales_keys" (
  "order_date" date NOT NULL
);
