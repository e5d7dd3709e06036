-- read the state of the sink
SELECT "publish_id", "versions", CAST("published_at" AS VARCHAR(64))
FROM "shop"."publish_state";
