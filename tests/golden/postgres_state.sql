-- read the state of the sink
SELECT publish_id, CAST(versions AS text), published_at FROM "shop"."publish_state";
