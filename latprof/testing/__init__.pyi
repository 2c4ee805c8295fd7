from latprof.testing.distributions import write_distribution as write_distribution
from latprof.testing.fake_runner import FakeRunner as FakeRunner
from latprof.testing.fakes import FakeProfiler as FakeProfiler
from latprof.testing.latency_fixture import Latency as Latency
from latprof.testing.latency_fixture import LatencyFixture as LatencyFixture
from latprof.testing.latency_fixture import ms as ms
from latprof.testing.predictor_contract import PredictorContract as PredictorContract
from latprof.testing.problems import known_optimum as known_optimum
from latprof.testing.problems import known_problem as known_problem
from latprof.testing.problems import made_up_measurements as made_up_measurements
from latprof.testing.profiler_contract import ProfilerContract as ProfilerContract
from latprof.testing.searcher_contract import (
    EvaluatingSearcherContract as EvaluatingSearcherContract,
)
from latprof.testing.searcher_contract import SearcherContract as SearcherContract
from latprof.testing.space_contract import SpaceContract as SpaceContract
from latprof.testing.store_contract import StoreContract as StoreContract
