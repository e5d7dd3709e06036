-- load "shop"."stage_p2_dim_user"
COPY "shop"."stage_p2_dim_user"
FROM 's3://a-bucket/p2/dim_user.manifest'
IAM_ROLE 'arn:aws:iam::123456789012:role/load'
FORMAT AS PARQUET
MANIFEST;

-- load "shop"."stage_p2_dim_user"
COPY "shop"."stage_p2_dim_user"
FROM 's3://a-bucket/p2/dim_user.manifest'
IAM_ROLE 'arn:aws:iam::123456789012:role/load,arn:aws-us-gov:iam::210987654321:role/path/other'
FORMAT AS PARQUET
MANIFEST;

-- load "shop"."stage_p2_dim_user"
COPY "shop"."stage_p2_dim_user"
FROM 's3://a-bucket/it''s.manifest'
IAM_ROLE default
FORMAT AS PARQUET
MANIFEST;
