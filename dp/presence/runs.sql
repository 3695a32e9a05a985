-- Presence runs [starts_at, ends_at) of every user in the trailing window of $window days, clipped to the ticks
-- $first .. $last, numbered from 1 in time. A run with ends_at = $last + 1 does not end within the horizon.
--
-- In: cells(user_id, day, present_from, present_until), from cells.sql.
WITH intervals AS (
  -- LEAST skips NULL (forever).
  SELECT
    user_id,
    GREATEST(present_from, $first) AS starts_at,
    LEAST(present_until, day + $window, $last + 1) AS ends_at
  FROM cells
),
reached AS (
  SELECT
    user_id,
    MAX(ends_at) OVER so_far AS reach,
    LEAD(starts_at) OVER in_order AS next_start,
    MIN(starts_at) OVER so_far AS first_start
  FROM intervals
  WHERE starts_at < ends_at
  WINDOW
    in_order AS (PARTITION BY user_id ORDER BY starts_at, ends_at),
    so_far AS (
      PARTITION BY user_id ORDER BY starts_at, ends_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),
-- A run ends where nothing later touches what was reached, and starts where the run before it left off waiting.
closing AS (
  SELECT user_id, reach AS ends_at, next_start, first_start
  FROM reached
  WHERE next_start IS NULL OR reach < next_start
)
SELECT
  user_id,
  COALESCE(LAG(next_start) OVER in_time, first_start) AS starts_at,
  ends_at,
  ROW_NUMBER() OVER in_time AS run
FROM closing
WINDOW in_time AS (PARTITION BY user_id ORDER BY ends_at)
