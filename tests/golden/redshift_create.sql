-- create the schema
CREATE SCHEMA IF NOT EXISTS "shop";

-- create the table publish_state
CREATE TABLE IF NOT EXISTS "shop"."publish_state" (
  "publish_id" VARCHAR(64) NOT NULL,
  "versions" VARCHAR(65535) NOT NULL,
  "published_at" TIMESTAMPTZ NOT NULL
)
DISTSTYLE ALL;

-- create the table dim_user
CREATE TABLE IF NOT EXISTS "shop"."dim_user" (
  "user_id" VARCHAR(65535) NOT NULL,
  "email" VARCHAR(65535),
  "created_at" TIMESTAMPTZ,
  "country" VARCHAR(65535),
  "is_inferred" BOOLEAN NOT NULL,
  "version_at" TIMESTAMPTZ,
  "content_hash" BIGINT,
  "source_file" VARCHAR(65535),
  "source_modified_at" TIMESTAMPTZ,
  "run_id" VARCHAR(65535) NOT NULL,
  PRIMARY KEY ("user_id")
)
DISTSTYLE ALL
COMPOUND SORTKEY (user_id);

-- create the table dim_product
CREATE TABLE IF NOT EXISTS "shop"."dim_product" (
  "sku" VARCHAR(65535) NOT NULL,
  "name" VARCHAR(65535),
  "category" VARCHAR(65535),
  "price" NUMERIC(18,4),
  "is_inferred" BOOLEAN NOT NULL,
  "version_at" TIMESTAMPTZ,
  "content_hash" BIGINT,
  "source_file" VARCHAR(65535),
  "source_modified_at" TIMESTAMPTZ,
  "run_id" VARCHAR(65535) NOT NULL,
  PRIMARY KEY ("sku")
)
DISTSTYLE ALL
COMPOUND SORTKEY (sku);

-- create the table dim_order
CREATE TABLE IF NOT EXISTS "shop"."dim_order" (
  "order_id" VARCHAR(65535) NOT NULL,
  "order_date" DATE NOT NULL,
  "created_at" TIMESTAMPTZ NOT NULL,
  "version_at" TIMESTAMPTZ NOT NULL,
  "user_id" VARCHAR(65535),
  "amount" NUMERIC(18,4),
  "currency" VARCHAR(65535),
  "source" VARCHAR(65535),
  "promo" VARCHAR(65535),
  "line_count" INTEGER NOT NULL,
  "is_deleted" BOOLEAN NOT NULL,
  "content_hash" BIGINT NOT NULL,
  "source_file" VARCHAR(65535) NOT NULL,
  "source_modified_at" TIMESTAMPTZ NOT NULL,
  "run_id" VARCHAR(65535) NOT NULL,
  PRIMARY KEY ("order_id"),
  FOREIGN KEY ("user_id") REFERENCES "shop"."dim_user" ("user_id")
)
DISTKEY (order_id)
COMPOUND SORTKEY (order_date, order_id);

-- create the table fact_sales
CREATE TABLE IF NOT EXISTS "shop"."fact_sales" (
  "order_id" VARCHAR(65535) NOT NULL,
  "line_no" INTEGER NOT NULL,
  "order_date" DATE NOT NULL,
  "created_at" TIMESTAMPTZ NOT NULL,
  "user_id" VARCHAR(65535),
  "sku" VARCHAR(65535) NOT NULL,
  "qty" INTEGER NOT NULL,
  "unit_price" NUMERIC(18,4),
  "line_amount" NUMERIC(29,4),
  "currency" VARCHAR(65535),
  "version_at" TIMESTAMPTZ NOT NULL,
  "run_id" VARCHAR(65535) NOT NULL,
  PRIMARY KEY ("order_id", "line_no"),
  FOREIGN KEY ("order_id") REFERENCES "shop"."dim_order" ("order_id"),
  FOREIGN KEY ("sku") REFERENCES "shop"."dim_product" ("sku")
)
DISTKEY (order_id)
COMPOUND SORTKEY (order_date, order_id);

-- create the table daily_sales
CREATE TABLE IF NOT EXISTS "shop"."daily_sales" (
  "order_date" DATE NOT NULL,
  "currency" VARCHAR(65535) NOT NULL,
  "country" VARCHAR(65535) NOT NULL,
  "category" VARCHAR(65535) NOT NULL,
  "source" VARCHAR(65535) NOT NULL,
  "orders" BIGINT NOT NULL,
  "units" BIGINT NOT NULL,
  "revenue" NUMERIC(38,4) NOT NULL,
  PRIMARY KEY ("order_date", "currency", "country", "category", "source")
)
DISTSTYLE EVEN
COMPOUND SORTKEY (order_date, currency);

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
