-- wait for others that create the schema
SELECT pg_advisory_xact_lock(hashtextextended('publish shop', 0));

-- create the schema
CREATE SCHEMA IF NOT EXISTS "shop";

-- create the table publish_state
CREATE TABLE IF NOT EXISTS "shop"."publish_state" (
  "is_current" boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (is_current),
  "publish_id" text NOT NULL,
  "versions" jsonb NOT NULL,
  "published_at" timestamp with time zone NOT NULL
);

-- create the table dim_user
CREATE TABLE IF NOT EXISTS "shop"."dim_user" (
  "user_id" text NOT NULL,
  "email" text,
  "created_at" timestamp with time zone,
  "country" text,
  "is_inferred" boolean NOT NULL,
  "version_at" timestamp with time zone,
  "content_hash" bigint,
  "source_file" text,
  "source_modified_at" timestamp with time zone,
  "run_id" text NOT NULL,
  PRIMARY KEY ("user_id")
);

-- create the table dim_product
CREATE TABLE IF NOT EXISTS "shop"."dim_product" (
  "sku" text NOT NULL,
  "name" text,
  "category" text,
  "price" numeric(18,4),
  "is_inferred" boolean NOT NULL,
  "version_at" timestamp with time zone,
  "content_hash" bigint,
  "source_file" text,
  "source_modified_at" timestamp with time zone,
  "run_id" text NOT NULL,
  PRIMARY KEY ("sku")
);

-- create the table dim_order
CREATE TABLE IF NOT EXISTS "shop"."dim_order" (
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
  "run_id" text NOT NULL,
  PRIMARY KEY ("order_id"),
  FOREIGN KEY ("user_id") REFERENCES "shop"."dim_user" ("user_id") DEFERRABLE INITIALLY DEFERRED
);

-- create the table fact_sales
CREATE TABLE IF NOT EXISTS "shop"."fact_sales" (
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
  "run_id" text NOT NULL,
  PRIMARY KEY ("order_id", "line_no"),
  FOREIGN KEY ("order_id") REFERENCES "shop"."dim_order" ("order_id") DEFERRABLE INITIALLY DEFERRED,
  FOREIGN KEY ("sku") REFERENCES "shop"."dim_product" ("sku") DEFERRABLE INITIALLY DEFERRED
);

-- create the table daily_sales
CREATE TABLE IF NOT EXISTS "shop"."daily_sales" (
  "order_date" date NOT NULL,
  "currency" text NOT NULL,
  "country" text NOT NULL,
  "category" text NOT NULL,
  "source" text NOT NULL,
  "orders" bigint NOT NULL,
  "units" bigint NOT NULL,
  "revenue" numeric(38,4) NOT NULL,
  PRIMARY KEY ("order_date", "currency", "country", "category", "source")
);

-- comment on dim_user
COMMENT ON TABLE "shop"."dim_user" IS 'one user; is_inferred until the user itself has arrived';

-- comment on dim_product
COMMENT ON TABLE "shop"."dim_product" IS 'one product; is_inferred until the product itself has arrived';

-- comment on dim_order
COMMENT ON TABLE "shop"."dim_order" IS 'one order in its current version; deleted orders stay as tombstones';

-- comment on fact_sales
COMMENT ON TABLE "shop"."fact_sales" IS 'one line of the current version of an order';

-- comment on daily_sales
COMMENT ON TABLE "shop"."daily_sales" IS 'the sales of one day in one currency, country, category and source; never adds two currencies';

-- comment on publish_state
COMMENT ON TABLE "shop"."publish_state" IS 'the last publish: which versions of the tables of the lakehouse this schema shows';

-- create an index on dim_order.order_date
CREATE INDEX IF NOT EXISTS "dim_order_order_date_idx" ON "shop"."dim_order" ("order_date");

-- create an index on dim_order.user_id
CREATE INDEX IF NOT EXISTS "dim_order_user_id_idx" ON "shop"."dim_order" ("user_id");

-- create an index on fact_sales.order_date
CREATE INDEX IF NOT EXISTS "fact_sales_order_date_idx" ON "shop"."fact_sales" ("order_date");

-- create an index on fact_sales.user_id
CREATE INDEX IF NOT EXISTS "fact_sales_user_id_idx" ON "shop"."fact_sales" ("user_id");

-- create an index on fact_sales.sku
CREATE INDEX IF NOT EXISTS "fact_sales_sku_idx" ON "shop"."fact_sales" ("sku");
