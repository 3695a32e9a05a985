-- When was each user active on each day? One row per '+' operation: the user is recorded as active on `day`
-- during the arrival ticks [present_from, present_until); NULL means forever. Intervals of one user and day may
-- repeat or overlap; runs.sql takes their union.
--
-- In:  operations(user_id, day INT or NULL, at INT, seq BIGINT, op INT: +1 add, -1 retract, 0 erase).
-- `at` is a keyword in some engines, hence always qualified.
--
-- A day that was never retracted, of a user who never erased, needs no window function: it stays.
WITH retracted AS (
  SELECT DISTINCT o.user_id, o.day FROM operations AS o WHERE o.op = -1
),
erasing AS (
  SELECT DISTINCT o.user_id FROM operations AS o WHERE o.op = 0
),
lasting AS (
  SELECT o.user_id, o.day, o.at AS present_from
  FROM operations AS o
  WHERE o.op = 1
    AND NOT EXISTS (SELECT 1 FROM retracted AS r WHERE r.user_id = o.user_id AND r.day = o.day)
    AND NOT EXISTS (SELECT 1 FROM erasing AS e WHERE e.user_id = o.user_id)
),
revised AS (
  SELECT o.user_id, o.day, o.at AS arrived, o.seq, o.op
  FROM operations AS o
  WHERE EXISTS (SELECT 1 FROM retracted AS r WHERE r.user_id = o.user_id AND r.day = o.day)
    OR EXISTS (SELECT 1 FROM erasing AS e WHERE e.user_id = o.user_id)
),
followed AS (
  SELECT
    user_id, day, op, arrived,
    LEAD(arrived) OVER (PARTITION BY user_id, day ORDER BY arrived, seq) AS next_write,
    -- Read backwards, so that the frame grows: the next erase is the earliest one met so far.
    MIN(CASE WHEN op = 0 THEN arrived END) OVER (
      PARTITION BY user_id ORDER BY arrived DESC, seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS next_erase
  FROM revised
)
SELECT user_id, day, present_from, CAST(NULL AS INT) AS present_until FROM lasting
UNION ALL
SELECT user_id, day, arrived, LEAST(next_write, next_erase) FROM followed WHERE op = 1
