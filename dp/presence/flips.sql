-- Starts and ends of presence runs per tick, each user cut after $w_bound flips. Never a user row.
--
-- In: runs, from runs.sql, and spent(user_id, flips): flips that a user used up before an erasure removed the rows
-- (even, because an erased user is absent); user_id is NULL for a user who has not come back.
WITH numbered AS (
  SELECT r.starts_at, r.ends_at, 2 * r.run + COALESCE(s.flips, 0) AS end_number
  FROM runs AS r LEFT JOIN spent AS s ON s.user_id = r.user_id
),
flips AS (
  SELECT starts_at AS tick, COUNT(*) AS starts, 0 AS ends
  FROM numbered WHERE end_number - 1 <= $w_bound GROUP BY starts_at
  UNION ALL
  SELECT ends_at, 0, COUNT(*)
  FROM numbered WHERE end_number <= $w_bound AND ends_at <= $last GROUP BY ends_at
  UNION ALL
  -- An odd bound froze these users while they were present: they are counted to the horizon, rows or no rows.
  SELECT $first, COUNT(*), 0 FROM spent WHERE flips > $w_bound AND $w_bound % 2 = 1
)
SELECT tick, CAST(SUM(starts) AS BIGINT) AS starts, CAST(SUM(ends) AS BIGINT) AS ends
FROM flips GROUP BY tick ORDER BY tick
