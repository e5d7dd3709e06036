-- read the state of the sink
SELECT "publish_id", CAST("versions" AS VARCHAR(65535))
FROM "shop"."publish_state";
