-- For several flip bounds at once: how the users present change at each tick, each user cut after that many flips, and
-- how many users are cut there because they flip once more. Never a user row.
--
-- In: runs, from runs.sql, and spent(user_id, flips), as in flips.sql.
WITH numbered AS (
  SELECT r.starts_at, r.ends_at, 2 * r.run + COALESCE(s.flips, 0) AS end_number
  FROM runs AS r LEFT JOIN spent AS s ON s.user_id = r.user_id
),
-- The flip of that number: odd ones start a run, even ones end it.
flips AS (
  SELECT starts_at AS tick, end_number - 1 AS number, COUNT(*) AS users FROM numbered GROUP BY starts_at, end_number
  UNION ALL
  SELECT ends_at, end_number, COUNT(*) FROM numbered WHERE ends_at <= $last GROUP BY ends_at, end_number
),
bounds AS (
  SELECT * FROM (VALUES $bounds) AS bounds (w_bound)
),
moves AS (
  SELECT
    b.w_bound, f.tick,
    CASE WHEN f.number > b.w_bound THEN 0 WHEN f.number % 2 = 1 THEN f.users ELSE -f.users END AS gained,
    CASE WHEN f.number > b.w_bound THEN f.users ELSE 0 END AS frozen
  FROM flips AS f JOIN bounds AS b ON f.number <= b.w_bound + 1
  UNION ALL
  -- Cut before an erasure: at the end of a run (even) they are absent, at its start (odd) present.
  SELECT b.w_bound, $first, b.w_bound % 2, 1 FROM spent AS s JOIN bounds AS b ON s.flips > b.w_bound
)
SELECT w_bound, tick, CAST(SUM(gained) AS BIGINT) AS gained, CAST(SUM(frozen) AS BIGINT) AS frozen
FROM moves GROUP BY w_bound, tick ORDER BY w_bound, tick
