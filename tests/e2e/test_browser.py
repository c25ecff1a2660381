"""`agentprm ui` in a browser, as in docs/tutorial.md: from the first page to the end of the loop, by clicks.

The fixtures are the steps of one walk through one home, in which a stage is made once; each test looks at a step.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from browsing import Ui, chromium, shoot

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

pytestmark = pytest.mark.browser

NOT_OURS = ("/ajax-api/2.0/mlflow/users/current", "ResizeObserver loop")
"""MLflow's pages ask every server for its users, of which one without a login has none, and draw in a hurry."""

ASSETS = (
    *("demonstrations", "initial_policy", "behaviour_policy", "rollouts", "mc_value_targets"),
    *("prm", "improved_policy", "eval_report", "promotion", "results"),
)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    ui = Ui(tmp_path_factory.mktemp("browser") / "home")
    ui.start()
    yield ui
    ui.stop()


@pytest.fixture(scope="module")
def errors() -> list[str]:
    """What pages have complained of in the browser's console."""
    return []


@pytest.fixture(scope="module")
def page(errors: list[str]) -> "Iterator[Page]":
    def note(message: "ConsoleMessage") -> None:
        error = f"{message.location['url']}: {message.text}"
        if message.type == "error" and not any(known in error for known in NOT_OURS):
            errors.append(error)

    with chromium() as page:
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        # MLflow tells of what is new in a window before everything else.
        page.add_locator_handler(page.get_by_role("button", name="Got it"), lambda button: button.click())
        yield page


@pytest.fixture(autouse=True)
def no_errors_in_the_console(errors: list[str]) -> Iterator[None]:
    errors.clear()
    yield
    assert errors == []


def of_asset(ui: Ui, name: str, iteration: int | None = None) -> str:
    """The address of a stage of smoke, or of an iteration of it."""
    return f"{ui.dagster}/assets/smoke/{name}" + (f"?view=partitions&partition={iteration}" if iteration else "")


def see(page: "Page", *texts: str) -> None:
    """Waits until the page shows each of these."""
    for text in texts:
        page.get_by_text(text).filter(visible=True).first.wait_for()


def await_text(page: "Page", text: str, look: Callable[[], object]) -> None:
    """Looks again and again until a page shows a text: Dagster draws what is so when it is loaded."""
    from playwright.sync_api import TimeoutError as NotYet

    shown = page.get_by_text(text, exact=True).filter(visible=True).first
    for _ in range(60):
        look()
        with suppress(NotYet):
            shown.wait_for(timeout=5_000)
            return
    shown.wait_for(timeout=5_000)


def await_iteration(ui: Ui, page: "Page", asset: str, iteration: int) -> None:
    """Until the page of an iteration says that it is made."""
    await_text(page, "Materialized", lambda: page.goto(of_asset(ui, asset, iteration)))


@pytest.fixture(scope="module")
def demonstrated(ui: Ui, page: "Page") -> None:
    """The first stage of smoke, by a click."""
    page.goto(of_asset(ui, "demonstrations"))
    page.get_by_role("button", name="Materialize").first.click()
    see(page, "Launched run")
    page.get_by_text("View", exact=True).click()
    page.get_by_text("Success", exact=True).first.wait_for()


@pytest.fixture(scope="module")
def automated(ui: Ui, page: "Page", demonstrated: None) -> None:
    """The sensor of smoke, switched on, and its first run."""
    page.goto(f"{ui.dagster}/automation")
    page.get_by_role("link", name="smoke_automation").click()
    see(page, "While it is on, launches one iteration of smoke after the other")
    page.locator("label").filter(has=page.get_by_role("checkbox")).click()
    see(page, "1 run requested")
    shoot(page, "sensor", {"x": 0, "y": 0, "width": 1400, "height": 680})


@pytest.fixture(scope="module")
def killed(ui: Ui, page: "Page", automated: None) -> str:
    """The daemon, killed in the middle of iteration 2; what `agentprm ui` has printed."""
    await_iteration(ui, page, "promotion", 1)  # until then there is no iteration 2 to look at
    await_iteration(ui, page, "rollouts", 2)
    page.goto("about:blank")
    return ui.kill_daemon()


@pytest.fixture(scope="module")
def looped(ui: Ui, page: "Page", killed: str) -> None:
    """Started again, and the loop at its end, with nothing else done."""
    ui.start()
    for iteration in (2, 3):  # of one that is not announced the page shows another
        await_iteration(ui, page, "promotion", iteration)
    page.goto(f"{ui.dagster}/runs")
    see(page, "Queued (0)", "In progress (0)")


def test_the_page_that_is_printed_is_the_graph_of_quickstart(ui: Ui, page: "Page") -> None:
    page.goto(ui.first_page)
    see(page, *ASSETS)


def test_the_catalog_holds_quickstart_and_smoke_alone(ui: Ui, page: "Page") -> None:
    page.goto(f"{ui.dagster}/assets")
    see(page, "smoke / demonstrations")
    listed = page.get_by_text(re.compile(r"^\w+ / \w+$")).all_inner_texts()
    assert {text.split(" / ")[0] for text in listed} == {"quickstart", "smoke"}


def test_jobs_and_assets_say_what_they_are(ui: Ui, page: "Page") -> None:
    page.goto(f"{ui.dagster}/jobs")
    page.get_by_role("link", name="smoke").click()
    see(page, "One iteration of: Every stage in seconds, on a handful of generated games.")
    page.goto(of_asset(ui, "demonstrations"))
    see(page, "Episodes in which an expert plays training games", "demonstrations.py")


@pytest.mark.usefixtures("demonstrated")
def test_a_stage_is_made_by_a_click(ui: Ui, page: "Page") -> None:
    page.goto(of_asset(ui, "demonstrations"))
    see(page, "success_rate", "episode_id", "made by this run")


@pytest.mark.usefixtures("automated")
def test_a_second_run_waits_in_its_turn(ui: Ui, page: "Page") -> None:
    page.goto(of_asset(ui, "demonstrations"))
    page.get_by_role("button", name="Materialize").first.click()
    see(page, "Launched run")
    page.goto(f"{ui.dagster}/runs")
    see(page, "Queued (1)", "In progress (1)")


def test_a_daemon_that_is_killed_ends_the_ui_which_says_so(killed: str) -> None:
    assert "UiError: dagster-daemon ended with exit code 137; see" in killed
    assert "cancelled" not in killed


@pytest.mark.usefixtures("looped")
def test_the_run_that_was_cut_off_was_launched_again_by_itself(ui: Ui, page: "Page") -> None:
    page.goto(f"{ui.dagster}/runs")
    see(page, "Re-execution")
    assert page.get_by_text("Failure", exact=True).count() == 1
    assert page.get_by_text("Re-execution", exact=True).count() == 1
    shoot(page, "runs", {"x": 0, "y": 0, "width": 1400, "height": 680})


@pytest.mark.usefixtures("looped")
def test_the_sensor_says_why_it_launches_no_more(ui: Ui, page: "Page") -> None:
    def look() -> None:
        page.goto(f"{ui.dagster}/locations/agentprm/sensors/smoke_automation")
        page.get_by_role("button", name="0 runs requested").first.click()

    await_text(page, "Skip reason: all 3 iterations of smoke are made", look)


@pytest.mark.usefixtures("looped")
def test_the_graph_is_green(ui: Ui, page: "Page") -> None:
    page.set_viewport_size({"width": 1400, "height": 1500})  # the buttons below would hide a stage
    page.goto(f"{ui.dagster}/locations/agentprm/asset-groups/smoke/lineage")
    boxes = [page.locator("foreignObject").filter(has_text=name).bounding_box() for name in ASSETS]
    page.wait_for_load_state("networkidle")  # colours come after the boxes
    left, top = min(box["x"] for box in boxes) - 8, min(box["y"] for box in boxes) - 8
    right = max(box["x"] + box["width"] for box in boxes) + 8
    bottom = max(box["y"] + box["height"] for box in boxes) + 8
    shoot(page, "asset_graph", {"x": left, "y": top, "width": right - left, "height": bottom - top})
    page.set_viewport_size({"width": 1400, "height": 1000})


@pytest.mark.usefixtures("looped")
def test_results_have_a_picture_and_a_table(ui: Ui, page: "Page") -> None:
    page.goto(of_asset(ui, "results"))
    picture = page.get_by_role("img", name="curves")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 100
    see(page, "Bo2(pi_3, prm[3])", "ReAct gpt-4o")


@pytest.mark.usefixtures("looped")
def test_promotion_says_what_it_decided_and_why(ui: Ui, page: "Page") -> None:
    page.goto(of_asset(ui, "promotion", 3))
    see(page, "pi_3 is promoted.", "total_kl", "best_of_n_loses", "overestimates")
    shoot(page, "promotion")


@pytest.mark.usefixtures("looped")
def test_a_prm_leads_to_the_rollouts_it_was_made_from(ui: Ui, page: "Page") -> None:
    page.goto(of_asset(ui, "prm", 3))
    rollouts = page.get_by_role("link", name="rollouts[3]", exact=True).first
    rollouts.wait_for()
    shoot(page, "prm")
    rollouts.click()
    page.wait_for_url("**/assets/smoke/rollouts?view=partitions&partition=3")
    see(page, "improved_policy[2]")


@pytest.mark.usefixtures("looped")
def test_mlflow_is_a_click_away_and_leads_back(ui: Ui, page: "Page") -> None:
    page.goto(of_asset(ui, "prm", 3))
    with page.expect_popup() as opened:
        page.get_by_role("link", name=ui.mlflow.partition("/#")[0]).first.click()
    run = opened.value
    see(run, "prm[3]", "held_out_loss", "iteration 3")
    assert run.get_by_role("link", name="asset smoke/prm").get_attribute("href") == of_asset(ui, "prm", 3)
    with run.expect_popup() as opened:
        run.get_by_role("link", name="Dagster run").click()
    see(opened.value, "Run of", "mc_value_targets")
    for tab in (opened.value, run):
        tab.close()


@pytest.mark.usefixtures("looped")
def test_the_address_of_mlflow_shows_the_experiment_and_its_episodes(ui: Ui, page: "Page") -> None:
    page.goto(ui.mlflow)
    page.get_by_role("link", name="smoke", exact=True).click()
    page.get_by_role("button", name="Model training").click()
    page.get_by_role("link", name="smoke", exact=True).last.wait_for()
    page.get_by_role("link", name="Traces").click()
    page.get_by_text("Your task is to").first.click()
    page.get_by_text("1.00s").first.click()
    page.get_by_role("tab", name="Attributes").click()
    see(page, "admissible", "value_after")
    shoot(page, "trace", {"x": 0, "y": 0, "width": 980, "height": 700})


@pytest.mark.usefixtures("looped")
def test_the_page_of_episodes_shows_values_beside_turns(ui: Ui, page: "Page") -> None:
    (episodes,) = ui.home.glob("artifacts/smoke/eval_report/3/*/episodes.html")
    page.goto(episodes.as_uri())
    see(page, "Q(s, a)")
    shoot(page, "episodes")
