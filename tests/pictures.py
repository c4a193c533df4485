"""Makes the pictures of the README, in docs/pictures: `python -m tests.pictures`. Needs the extra `browser`."""

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim, training

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"


class Gated(nn.Module):
    """The network of docs/first.md."""

    def __init__(self, rng):
        self.content = nn.Linear(2, 3, rng=rng)
        self.gate = nn.Linear(2, 3, rng=rng)
        self.out = nn.Linear(3, 2, rng=rng)

    def __call__(self, x):
        return self.out(np.tanh(self.content(x)) / (1 + np.exp(-self.gate(x))))


def gated_loss(samples):
    moons = tg.data.two_moons(samples, rng=0)
    net = Gated(np.random.default_rng(0))
    return net, nn.cross_entropy(net(moons.X), moons.y), {"net": net, "X": moons.X, "t": moons.y}


def graph():
    """The SVG of the network's graph."""
    _, loss, names = gated_loss(40)
    return tg.draw(loss, names=names)


def main():
    import shutil
    import tempfile

    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    graph().save(FOLDER / "graph.svg")
    net, loss, names = gated_loss(4)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_path = Path(folder) / "step.html"
        tg.step_through(loss, names=names).save(page_path)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.goto(page_path.as_uri())
        for _ in range(STEPS):
            page.keyboard.press("ArrowRight")
        page.screenshot(path=FOLDER / "step.png")
        browser.close()
    moons = tg.data.two_moons(400, noise=0.2, rng=1)
    history = training.fit(net, moons, loss=nn.cross_entropy, metrics=["accuracy"], validation=0.25, epochs=60,
                           optimizer=optim.Adam(net, lr=0.02), batch_size=20, patience=15, progress=False)
    history.plot(FOLDER / "training.svg")


STEPS = 16  # to where a gradient comes back through the product of the two paths

if __name__ == "__main__":
    main()
