import pytest
from fake_campaign import fake_report_data

from latprof.reports import build_report, render_report


@pytest.fixture(scope="session")
def data():
    """A whole campaign: pack, kernels, block costs, repeats and three failures."""
    return fake_report_data()


@pytest.fixture(scope="session")
def page(data):
    return render_report(build_report(data))
