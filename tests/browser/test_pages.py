"""What a person sees: pages that work, behind either login, without an error in the console."""

import re

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import EXPERIMENT, MODEL, NOTES

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def logged_in(by_password):
    """The page of somebody who is logged in, and the path of the newest run."""
    with by_password() as watched:
        yield watched, check_run_page(watched)


@pytest.fixture
def opened(logged_in):
    """Nothing may have gone wrong in the page when the test ends."""
    watched, _ = logged_in
    yield watched
    assert watched.errors == []
    assert watched.foreign == []


@pytest.fixture
def run_path(logged_in) -> str:
    return logged_in[1]


def ids(page: Page, url: str) -> tuple[str, str]:
    """Experiment and newest run, asked for from within the page: with its login."""
    script = """async ([url, name]) => {
      const of = `${url}/ajax-api/2.0/mlflow`;
      const found = await (await fetch(`${of}/experiments/get-by-name?experiment_name=${name}`)).json();
      const experiment = found.experiment.experiment_id;
      const body = JSON.stringify({experiment_ids: [experiment]});
      const headers = {'Content-Type': 'application/json'};
      const runs = await (await fetch(`${of}/runs/search`, {method: 'POST', headers, body})).json();
      return [experiment, runs.runs[0].info.run_id];
    }"""
    experiment, run = page.evaluate(script, [url, EXPERIMENT])
    return str(experiment), str(run)


def check_run_page(watched) -> str:
    """Open the list of experiments, the experiment, and its newest run; the run's path."""
    page = watched.page
    watched.open("")
    expect(page).to_have_title(re.compile("MLflow"))
    experiment, run = ids(page, watched.url)
    watched.open("#/experiments")
    page.get_by_role("link", name=EXPERIMENT).first.click()
    # The UI asks what kind of experiment it is, and goes on to a page of that kind: over whatever is opened meanwhile.
    page.wait_for_url(re.compile(rf"/experiments/{experiment}/\w+"))
    watched.open(f"#/experiments/{experiment}/runs")
    expect(page.get_by_text("rate-0.1").first).to_be_visible()
    expect(page.get_by_text("rate-0.3").first).to_be_visible()
    path = f"#/experiments/{experiment}/runs/{run}"
    watched.open(path)
    expect(page.get_by_text("epochs").first).to_be_visible()
    expect(page.get_by_text("accuracy").first).to_be_visible()
    return path


def test_experiment_and_run(opened, run_path, pictures):
    opened.open(run_path)
    expect(opened.page.get_by_text("epochs").first).to_be_visible()
    opened.picture("run", keep=pictures)


def test_chart_shows_the_curve(opened, run_path, pictures):
    opened.open(f"{run_path}/model-metrics")
    line = opened.page.locator(".js-plotly-plot .scatterlayer path.js-line").first
    expect(line).to_be_attached()
    # A curve of 30 points, and not an empty pair of axes.
    assert line.get_attribute("d").count("L") + line.get_attribute("d").count("C") >= 10
    opened.picture("chart", keep=pictures)


def test_artifact_is_shown(opened, run_path, pictures):
    opened.open(f"{run_path}/artifacts/notes.txt")
    expect(opened.page.get_by_text(NOTES)).to_be_visible()
    opened.picture("artifact", keep=pictures)


def test_registered_model_has_its_alias(opened, pictures):
    opened.open("#/models")
    expect(opened.page.get_by_text(MODEL).first).to_be_visible()
    opened.open(f"#/models/{MODEL}")
    expect(opened.page.get_by_text("champion").first).to_be_visible()
    opened.picture("model", keep=pictures)


def test_wrong_password_shows_nothing(by_password):
    with by_password(password="wrong") as watched:
        answer = watched.page.goto(watched.url)
        assert answer.status == 401
        # Neither a page of MLflow's, nor what its scripts would ask for.
        assert "static-files" not in watched.page.content()
        asked = watched.page.evaluate(
            """async paths => Promise.all(paths.map(async path => {
                 const answer = await fetch(path);
                 return [answer.status, await answer.text()];
               }))""",
            ["/ajax-api/2.0/mlflow/experiments/search?max_results=10", "/static-files/index.html"],
        )
        assert [status for status, _ in asked] == [401, 401]
        assert not [text for _, text in asked if "experiment" in text or "MLflow" in text]


def test_login_at_the_provider_leads_back_to_the_page(by_provider, pictures):
    """Runs last: it switches the stack to another way to log in."""
    open_page, provider = by_provider
    with open_page() as watched:
        page = watched.page
        page.goto(f"{watched.url}/#/experiments", wait_until="load")
        assert page.url.startswith(provider.url)
        page.locator("input[name=sub]").fill("ada")
        page.locator("form").first.evaluate("form => form.requestSubmit()")
        page.wait_for_url(f"{watched.url}/**")
        watched.foreign.clear()
        watched.errors.clear()
        check_run_page(watched)
        watched.picture("oidc", keep=pictures)
        assert watched.errors == []
        assert watched.foreign == []


def test_the_page_notes_what_is_forbidden(by_provider):
    """What the tests above rely on: a violation of the policy, a foreign request and an error are seen."""
    open_page, _provider = by_provider
    with open_page() as watched:
        watched.open("-/logged-out")
        watched.page.evaluate("console.error('found')")
        watched.page.evaluate("setTimeout(() => { throw new Error('thrown') })")
        watched.page.evaluate("fetch('https://192.0.2.1/').catch(() => {})")
        watched.page.wait_for_timeout(500)
        assert any("found" in error for error in watched.errors)
        assert any("thrown" in error for error in watched.errors)
        assert any("CSP: connect-src" in error for error in watched.errors), watched.errors
