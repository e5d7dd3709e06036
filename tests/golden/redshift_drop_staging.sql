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
