"""The queries over score files. All text is fixed: what differs from question to question is bound, also the column.

`$split` is one split, `$filters` a struct of lists (see `keeps`), `$by` the name of a slice. Errors are shares (0.1 is
10 %), `log_ratio` is ln(predicted / measured). A figure `each_…` is the mean over held-out groups of the group's own
figure, so that each group weighs 1.
"""

from __future__ import annotations

# Classes in which errors are looked at. `size` holds mixtures of experts apart: their speed follows other rules.
RUNS = """
CREATE VIEW runs AS
SELECT
  *,
  CASE
    WHEN active_b < 0.95 * parameters_b THEN 'MoE'
    WHEN parameters_b < 1 THEN 'under 1 B'
    WHEN parameters_b < 3 THEN '1–2 B'
    WHEN parameters_b < 6.5 THEN '3–6 B'
    WHEN parameters_b < 10 THEN '7–9 B'
    WHEN parameters_b < 36 THEN '10–35 B'
    WHEN parameters_b < 80 THEN '36–79 B'
    ELSE '80 B and more'
  END AS size,
  CASE
    WHEN arrival = 'open' THEN 'open loop'
    WHEN arrival = 'saturated' THEN 'as many as fit'
    WHEN concurrency <= 1 THEN '1'
    WHEN concurrency <= 4 THEN '2–4'
    WHEN concurrency <= 16 THEN '5–16'
    WHEN concurrency <= 64 THEN '17–64'
    WHEN concurrency <= 256 THEN '65–256'
    ELSE 'over 256'
  END AS batch,
  CASE
    WHEN context_depth + prompt_tokens + output_tokens <= 256 THEN 'up to 256'
    WHEN context_depth + prompt_tokens + output_tokens <= 1024 THEN '257–1,024'
    WHEN context_depth + prompt_tokens + output_tokens <= 4096 THEN '1,025–4,096'
    WHEN context_depth + prompt_tokens + output_tokens <= 16384 THEN '4,097–16,384'
    ELSE 'over 16,384'
  END AS context,
  coalesce(CAST(CAST(year AS INTEGER) AS VARCHAR), 'not stated') AS year_text,
  CASE WHEN arrival IN ('open', 'saturated') OR concurrency > 1 THEN 'many' ELSE 'one' END AS load
FROM row_file
"""

JUDGED = """
CREATE VIEW judged AS
SELECT
  s.split, s.fold, s."group" AS held_out, s.p10, s.p50, s.p90, s.support, r.*,
  abs(s.p50 / r.measured - 1) AS ape,
  ln(s.p50 / r.measured) AS log_ratio,
  r.measured BETWEEN s.p10 AND s.p90 AS inside,
  s.p90 / s.p10 AS width
FROM score_file s JOIN runs r ON s."row" = r."row"
WHERE isfinite(s.p50) AND s.p50 > 0 AND r.measured > 0
"""

# A list that is missing or NULL keeps everything.
KEEPS = """
CREATE MACRO keeps(filters, name, item) AS
  coalesce(list_contains(map_extract_value(CAST(filters AS MAP(VARCHAR, VARCHAR[])), name), item), true)
"""
KEPT = """
CREATE MACRO kept(f) AS TABLE
SELECT * FROM runs
WHERE keeps(f, 'metric', metric) AND keeps(f, 'load', load) AND keeps(f, 'source', source) AND keeps(f, 'model', model)
  AND keeps(f, 'device', device) AND keeps(f, 'device_class', device_class) AND keeps(f, 'runtime', runtime)
  AND keeps(f, 'quant', quant) AND keeps(f, 'size', size)
"""
CHOSEN = """
CREATE MACRO chosen(the_split, f) AS TABLE
SELECT * FROM judged
WHERE split = the_split
  AND keeps(f, 'metric', metric) AND keeps(f, 'load', load) AND keeps(f, 'source', source) AND keeps(f, 'model', model)
  AND keeps(f, 'device', device) AND keeps(f, 'device_class', device_class) AND keeps(f, 'runtime', runtime)
  AND keeps(f, 'quant', quant) AND keeps(f, 'size', size) AND keeps(f, 'support', support)
"""
SETUP = (RUNS, JUDGED, KEEPS, KEPT, CHOSEN)

SUMMARY = """
WITH sliced AS (
  SELECT
    *,
    CASE $by
      WHEN 'all' THEN 'all' WHEN 'metric' THEN metric WHEN 'load' THEN load WHEN 'size' THEN size WHEN 'batch' THEN batch
      WHEN 'context' THEN context WHEN 'device' THEN device WHEN 'device_family' THEN device_family
      WHEN 'device_class' THEN device_class WHEN 'runtime' THEN runtime WHEN 'backend' THEN backend
      WHEN 'quant' THEN quant WHEN 'kernel_class' THEN kernel_class WHEN 'year' THEN year_text WHEN 'source' THEN source
      WHEN 'model' THEN model WHEN 'support' THEN support
    END AS slice,
    CASE $by
      WHEN 'size' THEN if(size = 'MoE', 1e9, parameters_b) WHEN 'batch' THEN if(arrival IN ('open', 'saturated'), 1e9, concurrency)
      WHEN 'context' THEN context_depth + prompt_tokens + output_tokens WHEN 'year' THEN coalesce(year, 1e9)
    END AS place
  FROM chosen($split, $filters)
),
grouped AS (
  SELECT slice, held_out, median(ape) AS median, avg(ape) AS mean, avg(CAST(ape <= 0.25 AS INTEGER)) AS near,
    avg(CAST(inside AS INTEGER)) AS covered
  FROM sliced GROUP BY slice, held_out
),
each_of AS (
  SELECT slice, count(*) AS groups, avg(median) AS each_median, avg(mean) AS each_mean, avg(near) AS each_near,
    avg(covered) AS each_covered
  FROM grouped GROUP BY slice
),
rows_of AS (
  SELECT
    slice, min(place) AS place, count(*) AS n,
    quantile_cont(ape, [0.5, 0.9]) AS places, avg(ape) AS mean, median(log_ratio) AS bias,
    avg(CAST(ape <= 0.25 AS INTEGER)) AS near,
    if(min(unit) = max(unit), 1 - sum(pow(log_ratio, 2)) / nullif(count(*) * var_pop(ln(measured)), 0), NULL) AS r2_log,
    if(min(unit) = max(unit), 1 - sum(pow(p50 - measured, 2)) / nullif(count(*) * var_pop(measured), 0), NULL) AS r2,
    avg(CAST(inside AS INTEGER)) AS covered, avg(CAST(measured < p10 AS INTEGER)) AS below,
    avg(CAST(measured > p90 AS INTEGER)) AS above, median(width) AS width
  FROM sliced GROUP BY slice
)
SELECT * EXCLUDE (places), places[1] AS median, places[2] AS p90
FROM rows_of JOIN each_of USING (slice) ORDER BY place NULLS LAST, n DESC, slice
"""

# Ours is judged again on each baseline's rows: one that is defined on few, easy rows must not look good by that.
BASELINE = """
WITH wrong AS (
  SELECT held_out, ape, abs(
    CASE $name WHEN 'mean' THEN mean WHEN 'roofline' THEN roofline WHEN 'bandwidth' THEN bandwidth
      WHEN 'planner' THEN planner WHEN 'analytic' THEN analytic END / measured - 1) AS wrong
  FROM chosen($split, $filters)
),
grouped AS (SELECT held_out, median(wrong) AS median FROM wrong WHERE isfinite(wrong) GROUP BY held_out)
SELECT $name AS name, count(*) AS n, median(wrong) AS median, avg(wrong) AS mean,
  (SELECT avg(median) FROM grouped) AS each_median, median(ape) AS ours_median, avg(ape) AS ours_mean
FROM wrong WHERE isfinite(wrong)
"""

# Rows without an interval neither hold nor miss.
GROUPS = """
SELECT held_out AS "group", count(inside) AS n, sum(CAST(inside AS INTEGER)) AS covered, median(ape) AS median,
  median(log_ratio) AS bias, median(width) AS width
FROM chosen($split, $filters) GROUP BY held_out ORDER BY n DESC, held_out
"""

WORST_SLICES = """
SELECT metric, source, runtime, device_class, count(*) AS n, median(ape) AS median, avg(ape) AS mean,
  median(log_ratio) AS bias, avg(CAST(inside AS INTEGER)) AS covered
FROM chosen($split, $filters) GROUP BY ALL HAVING count(*) >= $least
ORDER BY median(abs(log_ratio)) DESC, n DESC LIMIT $limit
"""

# A share of the time that is no number counts as none.
SHARES = """
SELECT p50, measured, share_weights, share_kv, share_activations, share_compute, share_interconnect, share_host,
  share_overhead, share_waiting
FROM chosen($split, $filters) ORDER BY hash("row"), "row" LIMIT $limit
"""

ROWS = """
SELECT "row", run_id, metric, unit, measured, p10, p50, p90, ape, log_ratio, inside, support, held_out, analytic,
  source, source_path, model, parameters_b, active_b, device, device_count, device_class, runtime, backend, quant,
  arrival, concurrency, prompt_tokens, output_tokens, context_depth, year, fitted
FROM chosen($split, $filters) ORDER BY abs(log_ratio) DESC, "row" LIMIT $limit
"""

# Round robin over source × runtime × device: small strata are drawn whole before large ones fill what is left.
SAMPLE = """
WITH ranked AS (
  SELECT "row", row_number() OVER (PARTITION BY source, runtime, device ORDER BY hash("row")) AS turn
  FROM chosen($split, $filters)
),
picked AS (SELECT "row" FROM ranked ORDER BY turn, hash("row") LIMIT $limit)
SELECT "row", metric, unit, measured, p10, p50, p90, ape, source, model, device, device_count, device_class, runtime, quant,
  concurrency, prompt_tokens, context_depth, support
FROM chosen($split, $filters) SEMI JOIN picked USING ("row") ORDER BY "row"
"""

RUN = """SELECT * FROM runs WHERE "row" = $row"""
RUN_SCORES = """
SELECT split, held_out, support, p10, p50, p90, ape, log_ratio, inside FROM judged WHERE "row" = $row ORDER BY split
"""

OPTIONS = """
SELECT CASE $column
    WHEN 'metric' THEN metric WHEN 'source' THEN source WHEN 'model' THEN model WHEN 'device' THEN device
    WHEN 'device_class' THEN device_class WHEN 'runtime' THEN runtime WHEN 'quant' THEN quant WHEN 'size' THEN size
    WHEN 'load' THEN load
  END AS option, count(*) AS n
FROM runs GROUP BY option HAVING option IS NOT NULL ORDER BY n DESC, option
"""

SPLITS = """SELECT DISTINCT split FROM score_file"""

COUNTS = """
SELECT
  (SELECT count(*) FROM row_file) AS rows, (SELECT count(*) FROM score_file) AS scores,
  (SELECT count(*) FROM score_file) - (SELECT count(*) FROM judged) AS unscored,
  count(DISTINCT run_id) AS runs, count(DISTINCT source) AS sources, count(DISTINCT geometry) AS models,
  count(DISTINCT device) AS devices, count(DISTINCT device || ' × ' || device_count) AS machines,
  count(DISTINCT runtime) AS runtimes, count(DISTINCT quant) AS quants, count(DISTINCT concurrency) AS batches,
  count(DISTINCT context_depth + prompt_tokens + output_tokens) AS lengths, count(*) FILTER (NOT fitted) AS not_fitted
FROM runs
"""

FEASIBILITY = """
SELECT feasibility, count(DISTINCT run_id) AS runs FROM kept($filters) GROUP BY feasibility ORDER BY runs DESC
"""
REFUSED = """
SELECT any_value("row") AS "row", run_id, any_value(source) AS source, any_value(model) AS model, any_value(device) AS device,
  any_value(device_count) AS device_count, any_value(runtime) AS runtime, any_value(quant) AS quant,
  any_value(concurrency) AS concurrency, any_value(context_depth + prompt_tokens + output_tokens) AS context
FROM kept($filters) WHERE feasibility = 'insufficient_memory' GROUP BY run_id ORDER BY source, model, device, run_id
"""

# Models and devices beyond the commonest are put together.
CORPUS_MAP = """
WITH counted AS (SELECT model, device, run_id, row_number() OVER (PARTITION BY run_id) AS turn FROM kept($filters)),
one AS (SELECT model, device FROM counted WHERE turn = 1),
top_models AS (SELECT model FROM one GROUP BY model ORDER BY count(*) DESC, model LIMIT $models),
top_devices AS (SELECT device FROM one GROUP BY device ORDER BY count(*) DESC, device LIMIT $devices)
SELECT
  if(model IN (FROM top_models), model, 'all other models') AS model,
  if(device IN (FROM top_devices), device, 'all other devices') AS device,
  count(*) AS runs
FROM one GROUP BY ALL ORDER BY runs DESC, 1, 2
"""

ERRORS = """SELECT ape, held_out, inside FROM chosen($split, $filters) ORDER BY held_out, "row" """
