"""The views over measured runs, as SQL: `every_record` is given, everything else follows."""

VIEWS = ("runs", "memory", "by_scenario", "latest", "conflicts", "alike", "repeats", "coverage", "failures", "records")

VIEWS_SQL = """
-- A record once, and not where a later one corrects it.
create view records as
    select * from every_record
    qualify row_number() over (partition by run_id order by source, source_path) = 1
        and run_id not in (select corrects from every_record where corrects is not null);
create view runs as select * from records where memory_kind is null and failure is null;
create view failures as select * from records where failure is not null;
create view memory as select * from records where memory_kind is not null;

create view by_scenario as
    select scenario_id, any_value(model) as model, any_value(device) as device, any_value(engine) as engine,
        count(*) as runs, count(distinct origin) as origins, list(distinct source order by source) as sources,
        median(prefill_toks_sec) as prefill_toks_sec, median(decode_toks_sec) as decode_toks_sec,
        median(output_toks_sec) as output_toks_sec, median(coalesce(ttft_ms_p50, ttft_ms_mean)) as ttft_ms,
        median(coalesce(tpot_ms_p50, tpot_ms_mean)) as tpot_ms, median(vram_peak_gib) as vram_peak_gib
    from runs where scenario_id is not null group by scenario_id;
create view latest as
    select * from runs where scenario_id is not null
    qualify row_number() over (partition by scenario_id, origin order by run_date desc nulls last, run_id) = 1;

-- One line for each figure of a run: the median of it where it has one, else the mean.
create view figures as
    select * from (
        unpivot (
            select *, prefill_toks_sec as prefill, decode_toks_sec as decode, output_toks_sec as output_rate,
                coalesce(ttft_ms_p50, ttft_ms_mean) as ttft, coalesce(tpot_ms_p50, tpot_ms_mean) as tpot
            from runs where scenario_id is not null
        ) on prefill, decode, output_rate, ttft, tpot into name metric value figure
    ) where figure > 0;

-- The same scenario by people who do not share their measurements.
create view conflicts as
    with of_origin as (
        select scenario_id, metric, origin, any_value(model) as model, any_value(device) as device,
            any_value(engine) as engine, median(figure) as figure, count(*) as runs
        from figures where fit group by scenario_id, metric, origin
    )
    select scenario_id, any_value(model) as model, any_value(device) as device, any_value(engine) as engine, metric,
        count(*) as origins, sum(runs)::bigint as runs, min(figure) as lowest, max(figure) as highest,
        max(figure) / min(figure) - 1 as spread, list(origin order by origin) as who
    from of_origin group by scenario_id, metric having count(*) > 1;

-- As conflicts, for one sequence at like depth: prompts of 512 and 600 tokens ask nearly the same.
create view alike as
    with of_origin as (
        select model, device, coalesce(gpu_count, 1) as devices, engine, backend, scheme, metric, origin,
            floor(log2(greatest(512, coalesce(context_depth, 0) + coalesce(prompt_tokens, 0))))::integer as depth,
            median(figure) as figure, count(*) as runs
        from figures where fit and coalesce(concurrency, 1) = 1 and metric in ('decode', 'prefill', 'ttft')
        group by all
    )
    select model, device, devices, engine, backend, scheme, depth, metric, count(*) as origins, sum(runs)::bigint as runs,
        min(figure) as lowest, max(figure) as highest, max(figure) / min(figure) - 1 as spread, list(origin order by origin) as who
    from of_origin group by model, device, devices, engine, backend, scheme, depth, metric having count(*) > 1;

-- Runs of one source that are equal in every input: what is left is noise, and what nobody wrote down.
create view repeats as
    select source, metric, any_value(model) as model, any_value(device) as device, count(*) as runs,
        min(figure) as lowest, max(figure) as highest, max(figure) / min(figure) - 1 as spread,
        mad(figure) / median(figure) as deviation -- from the median: the error that a perfect estimate would show
    from figures
    group by source, metric, run_date, model_id, model_name_raw, quant, kv_dtype, runtime, runtime_version, gpu_name, gpu_count,
        cpu_name, ram_gb, tp, pp, dp, ep, n_gpu_layers, flash_attn, n_batch, n_ubatch, threads, load_kind, concurrency,
        request_rate, prompt_tokens, output_tokens, context_depth, notes, prefix_cached_tokens, max_num_batched_tokens,
        gpu_memory_fraction, power_limit_w, weights_gib
    having count(*) > 1;

create view coverage as
    select model, device, engine, count(*) as runs, count(*) filter (fit) as fitted, count(distinct origin) as origins
    from runs where scenario_id is not null group by model, device, engine;
"""
