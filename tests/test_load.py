"""The load generator against a server on loopback whose delays are known."""

import asyncio
from dataclasses import replace

import pytest
from fake_openai import FakeServer, serving
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RunError
from harness.load import Server, drive, probe
from harness.load_result import measured
from harness.prompts import BUCKETS, WORDS, Prompter, text
from harness.schedule import closed, opened, trace
from harness.stats import Repeats, halfwidth, spread


def run(fake, schedule, **more):
    async def both():
        server, prompter = await probe(Server(fake.url), Prompter(7))
        return server, await drive(server, schedule, prompter, **more)

    return asyncio.run(both())


@pytest.fixture(scope="module")
def steady():
    """A closed loop of three users over twelve requests, and the server that it ran on."""
    with serving(FakeServer()) as fake:
        server, load = run(fake, closed(3, 12, 200, 8))
        yield fake, server, load


def test_times_are_those_of_the_server(steady):
    """The server waited 20 ms, then 2 ms a token, by its own clock; what came over the wire cannot have been faster."""
    _, _, load = steady
    assert len(load.completed) == 12 and not any(answer.error for answer in load.answers)
    for answer in load.completed:
        assert answer.ttft >= 0.02 and answer.tpot >= 0.0015 and answer.latency >= 0.02 + 7 * 0.0015
        assert len(answer.gaps) == 7 and sum(answer.gaps) == pytest.approx(answer.last - answer.first)


def test_prompts_have_the_length_that_was_asked_for(steady):
    fake, server, load = steady
    assert server.model == "fake-model" and not server.chat
    assert all(abs(answer.prompt_tokens - 200) <= 3 for answer in load.completed), "by the server's own count"
    prompts = [body["prompt"] for body in fake.asked]
    assert len(set(prompts)) == len(prompts), "no prompt comes twice: a cache must not answer"
    assert {len(prompt.split("\n")) for prompt in prompts} == {1}


def test_a_kept_connection_that_the_server_closed_costs_no_answer():
    """As llama-server does behind a streamed answer."""
    with serving(FakeServer(drops_kept=True)) as fake:
        _, load = run(fake, closed(2, 6, 50, 4))
    assert len(load.completed) == 6 and not any(answer.error for answer in load.answers)


def test_a_closed_loop_keeps_its_users_busy_and_no_more(steady):
    fake, _, load = steady
    assert fake.most_busy == 3 and load.seconds >= 4 * (0.02 + 7 * 0.0015)


def test_the_columns_of_a_run(steady):
    _, _, load = steady
    found = measured(load)
    c = found.columns
    assert (c["load_kind"], c["concurrency"], c["request_rate"], c["output_tokens"]) == ("concurrency", 3, None, 8)
    assert c["ttft_ms_p50"] <= c["ttft_ms_p95"] <= c["ttft_ms_p99"] and c["ttft_ms_p50"] >= 20
    assert c["output_toks_sec"] == pytest.approx(96 / load.seconds) and c["total_toks_sec"] > 20 * c["output_toks_sec"]
    assert found.extra["itl_ms_p50"] >= 1.5 and found.extra["requests"] == 12 and set(found.spread) == {"ttft_ms", "tpot_ms"}


def test_tokens_are_counted_by_usage_not_by_chunks():
    with serving(FakeServer(in_a_chunk=4, gap=0.001, first=0.001)) as fake:
        _, load = run(fake, closed(1, 3, 50, 9), warm_up=0)
    assert {answer.output_tokens for answer in load.completed} == {9} and {len(answer.gaps) for answer in load.completed} == {2}
    extra = measured(load).extra
    assert extra["tokens_per_chunk"] == 3 and "itl_ms_p50" not in extra, "a gap between chunks is no gap between tokens"


def test_an_open_loop_does_not_wait_for_answers():
    with serving(FakeServer(first=0.2, gap=0.0)) as fake:
        _, load = run(fake, opened(200.0, 10, 50, 2, seed=1), warm_up=0)
    assert fake.most_busy > 5, "requests of 0.2 s, one every 5 ms"
    found = measured(load)
    assert found.columns["request_rate"] == 200.0 and found.columns["concurrency"] is None and found.spread == {}
    assert found.extra["late_ms_p99"] >= 0


def test_a_trace_is_replayed_as_recorded(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,40,3\n2023-11-16 18:15:46.7305900,80,5\n")
    schedule = trace(path)
    assert [round(request.at, 3) for request in schedule.requests] == [0.0, 0.05] and schedule.rate == pytest.approx(20, rel=1e-4)
    with serving(FakeServer(first=0.001, gap=0.0)) as fake:
        _, load = run(fake, schedule, warm_up=0)
    first, second = sorted(load.completed, key=lambda answer: answer.sent)
    assert (first.output_tokens, second.output_tokens) == (3, 5) and second.sent - first.sent >= 0.045
    assert "trace" in measured(load).columns["fit_reason"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "when,how\n1,2\n"), ("a.jsonl", '{"timestamp": 1}\n'), ("a.jsonl", ""), ("b.csv", "[")]
)
def test_what_is_no_trace_says_so(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match="a trace needs at_s"):
        trace(tmp_path / name)


def test_a_trace_in_milliseconds(tmp_path):
    rows = [
        '{"timestamp": 27482, "input_length": 6955, "output_length": 52}',
        '{"timestamp": 30535, "input_length": 6472, "output_length": 26}',
    ]
    (tmp_path / "mooncake.jsonl").write_text("\n".join(rows))
    assert trace(tmp_path / "mooncake.jsonl", speed=2.0).requests[1].at == pytest.approx(1.5265)


# ---- servers that are otherwise


def test_a_server_of_chats_alone_and_a_strict_one():
    for fake in (FakeServer(chat_only=True, first=0.001, gap=0.0), FakeServer(strict=True, first=0.001, gap=0.0)):
        with serving(fake):
            server, load = run(fake, closed(1, 2, 60, 2), warm_up=0)
        assert server.chat == fake.chat_only and server.extras != fake.strict and len(load.completed) == 2


def test_without_usage_nothing_is_measured():
    with serving(FakeServer(usage=False, first=0.001, gap=0.0)) as fake, pytest.raises(RunError, match="reports no usage"):
        run(fake, closed(1, 2, 60, 2))


def test_an_early_end_is_what_it_is():
    with serving(FakeServer(stops_after=3, first=0.001, gap=0.0)) as fake:
        _, load = run(fake, closed(1, 2, 60, 64), warm_up=0)
    assert measured(load).columns["output_tokens"] == 3


def test_a_server_that_breaks_is_told_and_left():
    with serving(FakeServer(fails_after=4, first=0.001, gap=0.0)) as fake:
        _, load = run(fake, closed(1, 10, 60, 2), warm_up=0)
        assert len(load.completed) == 2 and "8 of 10 requests failed" in measured(load).columns["sanity_flag"]
        assert load.answers[-1].error == "HTTP 500: CUDA out of memory"
    none = pytest.raises(RunError, match=r"all of 8 requests failed .*out of memory")
    with serving(FakeServer(fails_after=2, first=0.001, gap=0.0)) as fake, none:
        run(fake, closed(1, 50, 60, 2), warm_up=0)


def test_no_server_is_one_sentence():
    with serving(FakeServer()) as fake:
        gone = replace(Server(fake.url))
    with pytest.raises(RunError, match="lists no model"):
        asyncio.run(probe(gone, Prompter(1)))
    with pytest.raises(RunError, match="cannot be measured"):
        asyncio.run(probe(replace(gone, model="m"), Prompter(1)))


def test_it_stops_when_the_median_is_known():
    with serving(FakeServer(first=0.001, gap=0.0)) as fake:
        _, load = run(fake, closed(2, 100, 60, 2), warm_up=0, enough=lambda answers: len(answers) >= 6)
    assert 6 <= len(load.completed) <= 8, "what is under way is waited for"


# ---- judging repeats


def test_the_median_of_ten_equal_repeats_is_tight():
    repeats = Repeats()
    assert repeats.enough([10.0] * 10) and not repeats.enough([10.0] * 9)
    noisy = [10.0, 14.0, 7.0, 12.0, 9.0, 15.0, 8.0, 11.0, 13.0, 10.0]
    assert not repeats.enough(noisy) and repeats.enough(noisy * 3) and not repeats.enough([10.0] * 10, noisy)


@given(st.lists(st.floats(1, 100), min_size=6, max_size=60), st.floats(0.1, 10))
def test_the_interval_of_the_median_has_no_unit(samples, factor):
    one = halfwidth(samples)
    assert one >= 0 and halfwidth([factor * sample for sample in samples]) == pytest.approx(one, rel=1e-6, abs=1e-9)
    assert spread([factor * sample for sample in samples]) == pytest.approx(spread(samples), rel=1e-6, abs=1e-9)


def test_the_interval_is_that_of_order_statistics():
    """Of 10 samples the 2nd and the 9th bound the median with 97.9 %, the 3rd and the 8th with 89.1 %."""
    assert halfwidth(range(1, 11)) == pytest.approx((9 - 2) / 2 / 5.5)
    assert halfwidth([1, 2, 3, 4, 5]) == float("inf"), "five samples bound no median with 95 %"


def test_the_words_of_a_prompt_hang_on_seed_and_number_alone():
    assert text(1, 2, 50) == text(1, 2, 50) != text(1, 3, 50) != text(2, 3, 50)
    assert len(text(1, 2, 50).split()) == 50 and list(BUCKETS.values()) == [256, 2048, 8192, 32768]


def test_a_tokenizer_finds_the_wanted_tokens_in_every_prompt():
    def tokens(prompt: str) -> int:  # one for short words, more for long ones, and one before the first
        return 1 + sum(1 + len(word) // 6 for word in prompt.split())

    first = Prompter(7)
    short, long = (first.prompt(words, words) for words in (len(WORDS), 3 * len(WORDS)))
    fitted = first.fitted((len(WORDS), tokens(short)), (3 * len(WORDS), tokens(long)))
    found = [tokens(fitted.prompt(256, number)) for number in range(40)]
    assert abs(sum(found) / len(found) / 256 - 1) < 0.005 and max(abs(n / 256 - 1) for n in found) < 0.03
