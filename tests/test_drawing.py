"""Drawings: what a picture shows, and that it can be read, measured on the numbers that are drawn."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import classifier
from tinygraph.drawing import svg as pictures
from tinygraph.drawing.graph import Group, Shown
from tinygraph.drawing.layout import Box, arrange

SVG = "{http://www.w3.org/2000/svg}"


def network(units=(4, 5, 5, 3), n=6):
    rng = np.random.default_rng(0)
    model = classifier.NNClassifier(units, rng=0)
    X, t = rng.normal(size=(units[0], n)), rng.integers(0, units[-1], n)
    return model, X, t


def mlp():
    model, X, t = network()
    return tg.draw(model.loss_node(X, t), names={"X": X, "t": t})


def recurrent():
    rng = np.random.default_rng(1)
    W, U = (tg.Parameter(rng.normal(size=(3, 3)), name=name) for name in "WU")
    h = np.zeros(3)
    for _ in range(5):
        h = np.tanh(h @ W + rng.normal(size=3) @ U)
    return tg.draw(h.sum())


def random_graph(size, seed=0):
    """Ops of one or two earlier nodes, most of them near; several outputs."""
    rng = np.random.default_rng(seed)
    nodes = [tg.Parameter(np.ones(3), name="x"), *[tg.constant(np.ones(3)) for _ in range(3)]]
    for i in range(size):
        j, k = (max(0, len(nodes) - 1 - int(rng.exponential(8))) for _ in range(2))
        nodes.append([np.add, np.minimum, np.maximum][i % 3](nodes[j], nodes[k]) if i % 4 else np.sin(nodes[j]))
    return tg.draw(*nodes[-4:], fold=0)


def transformer():
    rng, parameters = np.random.default_rng(0), []

    def parameter(name, *shape):
        parameters.append(tg.Parameter(rng.normal(size=shape), name=name))
        return parameters[-1]

    z = rng.normal(size=(5, 8)) + parameter("encoder.positions", 5, 8)
    for i in range(2):
        layer = f"encoder.layers.{i}"
        query, key, value = (z @ parameter(f"{layer}.attention.{name}", 8, 8) for name in ("query", "key", "value"))
        z = z + tg.ops.Softmax(query @ key.T / np.sqrt(8)) @ value
        z = tg.ops.LayerNorm(z, parameter(f"{layer}.norm.gain", 8), parameter(f"{layer}.norm.bias", 8))
    return tg.draw(tg.ops.LogSoftmaxNLL(z @ parameter("head.W", 8, 3), np.array([0, 1, 2, 0, 1])))


GRAPHS = {"mlp": mlp, "recurrent": recurrent, "random 60": lambda: random_graph(60), "transformer": transformer,
          "random 500": lambda: random_graph(500, seed=1)}


@pytest.fixture(scope="module", params=GRAPHS)
def drawing(request):
    return GRAPHS[request.param]()


def boxes(drawing):
    return {shown: place for shown, place in drawing.picture.places.items() if isinstance(shown, Shown)}


def overlap(a, b):
    return (a.x < b.x + b.width - 1e-6 and b.x < a.x + a.width - 1e-6
            and a.y < b.y + b.height - 1e-6 and b.y < a.y + a.height - 1e-6)


# ---- legible


def test_no_two_boxes_overlap(drawing):
    for a, b in itertools.combinations(boxes(drawing).values(), 2):
        assert not overlap(a, b)


def test_all_is_on_the_paper(drawing):
    picture = drawing.picture
    assert picture.width <= 2000
    for place in picture.places.values():
        assert place.x >= 0
        assert place.x + place.width <= picture.width
        assert place.y >= 0
        assert place.y + place.height <= picture.height


def test_lines_point_downwards_from_box_to_box_and_through_none(drawing):
    places = boxes(drawing)
    for (u, v), points in zip(drawing.picture.edges, drawing.picture.lines, strict=True):
        heights = [y for _, y in points]
        assert heights == sorted(heights)
        upper, lower = places[u], places[v]
        assert points[0] == pytest.approx((upper.x + upper.width / 2, upper.y + upper.height))
        assert points[-1][1] == pytest.approx(lower.y)
        assert lower.x < points[-1][0] < lower.x + lower.width
        for (x, y), (x1, y1) in itertools.pairwise(points):
            line = Box(max(abs(x1 - x), 2e-3), max(y1 - y, 2e-3), x=min(x, x1), y=y)  # a curve stays in it
            for shown, place in places.items():
                if shown not in (u, v):
                    assert not overlap(line, place) or (x != x1 and not crosses(x, y, x1, y1, place))


def crosses(x, y, x1, y1, place):
    """Whether the curve that `curve` draws enters a box."""
    for t in np.linspace(0, 1, 101):
        px = x + (x1 - x) * (3 * t**2 - 2 * t**3)
        py = (1 - t) ** 3 * y + 3 * t * (1 - t) * (y + y1) / 2 + t**3 * y1
        if place.x < px < place.x + place.width and place.y < py < place.y + place.height:
            return True
    return False


def test_text_fits_its_box(drawing):
    """By the widths of a font at least as wide as others; a test in a browser measures the real ones."""
    for shown, place in boxes(drawing).items():
        frame = 8 * shown.is_output + 6 * shown.folded
        assert pictures.text_width(pictures.clipped(shown.title), 13) <= place.width - frame - 16


def test_groups_hold_their_members_and_nothing_else():
    drawing = mlp()
    groups = {shown: place for shown, place in drawing.picture.places.items() if isinstance(shown, Group)}
    assert [group.title for group in groups] == ["layer 1", "layer 2", "layer 3"]
    first = next(iter(groups))
    assert sorted(member.title for member in first.members) == ["AddBias", "MatMul", "ReLU", "W1", "b1"]
    for group, frame in groups.items():
        for shown, place in boxes(drawing).items():
            inside = frame.x <= place.x and place.x + place.width <= frame.x + frame.width and \
                frame.y <= place.y and place.y + place.height <= frame.y + frame.height
            assert inside == (shown in group.members)
            assert inside or not overlap(frame, place)


def test_groups_within_groups():
    picture = transformer().picture
    titles = {group.title: group for group in picture.places if isinstance(group, Group)}
    assert titles["encoder"].outer is picture.graph.top
    assert titles["encoder.layers.0"].outer is titles["encoder"]
    assert titles["encoder.layers.0.norm"].outer is titles["encoder.layers.0"]
    assert "encoder.layers" not in titles
    for group in titles.values():
        frame = picture.places[group]
        for member in group.members:
            place = picture.places[member]
            assert frame.x < place.x
            assert place.x + place.width < frame.x + frame.width
            assert frame.y < place.y
            assert place.y + place.height < frame.y + frame.height


def test_what_merges_the_pieces_of_a_layer_is_part_of_it():
    W, b = tg.Parameter(np.ones((2, 3)), name="conv.W"), tg.Parameter(np.ones(3), name="conv.b")
    head = tg.Parameter(np.ones(3), name="head.W")
    y = np.tanh(np.ones((4, 2)) @ W + np.reshape(b, (1, 3))).sum(axis=0) @ head
    groups = [shown for shown in tg.draw(y).picture.places if isinstance(shown, Group)]
    assert [sorted(box.title for box in group.members) for group in groups] == [
        ["Add", "MatMul", "Reshape", "Tanh", "conv.W", "conv.b"], ["MatMul", "head.W"]]


def test_a_layer_that_is_used_again_elsewhere_is_no_group():
    """Tied weights: a frame around both uses would hold all that is between them."""
    E, W = tg.Parameter(np.ones((3, 3)), name="embed.E"), tg.Parameter(np.ones((3, 3)), name="middle.W")
    z = np.tanh(np.ones((2, 3)) @ E @ W) @ E
    groups = [shown.title for shown in tg.draw(z).picture.places if isinstance(shown, Group)]
    assert groups == ["middle"]


def test_layers_that_lead_to_each_other_are_no_groups():
    """One line leads from a to b and another one from b to a: as boxes they would be a circle."""
    a, b, c, d = (tg.Parameter(np.ones(2), name=name) for name in ("a.u", "a.v", "b.u", "b.v"))
    y = np.ones(2) * a * c + np.ones(2) * d * b
    picture = tg.draw(y).picture
    assert len(picture.graph.boxes) == 11
    assert not any(isinstance(shown, Group) for shown in picture.places)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_contrast(mode):
    paper, ink, line, surface, _ = pictures.INKS[mode]
    for kind, modes in pictures.FILLS.items():
        assert pictures.contrast(*modes[mode]) >= 4.5, kind
    for ground in (paper, surface):
        assert pictures.contrast(ink, ground) >= 7
        assert pictures.contrast(line, ground) >= 3
        assert pictures.contrast(ink, ground) >= 7  # the outline of each box


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_data_parameters_and_ops_differ_in_grey(mode):
    greys = [pictures.FILLS[kind][mode][0] for kind in ("data", "parameter", "op")]
    for one, other in itertools.combinations(greys, 2):
        assert pictures.contrast(one, other) >= 1.6
    outlines = {kind: pictures.outline(kind, 0, 0, 80, 30) for kind in ("data", "parameter", "op", "variable")}
    assert len(set(outlines.values())) == len(outlines)


# ---- what is shown


def test_boxes_of_a_network():
    drawing = mlp()
    kinds = {shown.title: shown.kind for shown in drawing.picture.graph.boxes}
    assert kinds["X"] == kinds["t"] == "data"
    assert kinds["W1"] == kinds["b3"] == "parameter"
    assert kinds["MatMul"] == "op"
    assert sum(shown.kind == "op" for shown in drawing.picture.graph.boxes) == 9
    flows = {shown.title: shown.flow for shown in drawing.picture.graph.boxes}
    assert (flows["X"], flows["t"], flows["W1"]) == ("(4, 6)", "(6,) int64", "(5, 4)")


def test_kinds():
    rate = tg.State(np.float32(0.5), name="rate")
    stream = tg.Parameter(np.ones(2))
    boxes = tg.draw((stream * rate + tg.constant(np.ones(2))).sum(axis=0)).picture.graph.boxes
    assert sorted((shown.kind, shown.title) for shown in boxes) == [
        ("data", "data"), ("op", "Add"), ("op", "Multiply"), ("op", "Sum"), ("parameter", "parameter"),
        ("state", "rate")]
    assert {shown.title: shown.details for shown in boxes}["Sum"] == ["(axis=0)"]


def test_numbers_and_options_stand_in_the_box():
    x = tg.Parameter(np.ones((2, 3)))
    (box,) = [shown for shown in tg.draw(x * np.float64(2.5)).picture.graph.boxes if shown.kind == "op"]
    assert box.details == ["(·, 2.5)"]


def test_what_is_used_twice_has_two_lines():
    w = tg.Parameter(np.ones(2), name="w")
    assert len(tg.draw(w * w).picture.edges) == 2
    assert len(tg.draw(w * w + w).picture.edges) == 4


def test_several_outputs():
    x = tg.Parameter(np.ones(2))
    y = np.sin(x)
    boxes = tg.draw(y, y * 2, x.sum()).picture.graph.boxes
    assert {shown.title for shown in boxes if shown.is_output} == {"Sin", "Multiply", "Sum"}


def test_a_state_alone():
    drawing = tg.draw(tg.Parameter(np.ones(2), name="w"))
    (box,) = drawing.picture.graph.boxes
    assert (box.title, box.is_output) == ("w", True)
    ElementTree.fromstring(drawing.svg)


def test_names_by_a_model_are_paths():
    class Layer:
        def __init__(self, rng):
            self.W, self.b = tg.Parameter(rng.normal(size=(3, 3))), tg.Parameter(np.zeros(3))

    class Model:
        def __init__(self):
            rng = np.random.default_rng(0)
            self.layers = [Layer(rng), Layer(rng)]

    model, x = Model(), np.ones((2, 3))
    z = x
    for layer in model.layers:
        z = np.tanh(z @ layer.W + layer.b)
    drawing = tg.draw(z, names={"": model, "x": x, "activations": z})
    titles = {shown.title for shown in drawing.picture.graph.boxes}
    assert {"layers.0.W", "layers.1.b", "x", "activations"} <= titles
    groups = [shown.title for shown in drawing.picture.places if isinstance(shown, Group)]
    assert groups == ["layers.0", "layers.1"]


@pytest.mark.parametrize(("names", "error", "message"), [
    ({"y": np.zeros(7)}, ValueError, r"names\['y'\], of shape \(7,\), is not in this graph"),
    ({"y": "W"}, TypeError, r"names\['y'\] is a str: give a node, an array, or a model"),
])
def test_names_that_name_nothing(names, error, message):
    with pytest.raises(error, match=message):
        tg.draw(tg.Parameter(np.ones(2)) * 2, names=names)


def test_gradients_are_those_of_the_engine():
    model, X, t = network()
    loss = model.loss_node(X, t)
    drawing = tg.draw(loss, gradients=True)
    assert all(parameter.grad is None for parameter in model.parameters)
    loss.backprop()
    for parameter in model.parameters:
        (box,) = [shown for shown in drawing.picture.graph.boxes if shown.title == parameter.name]
        assert drawing.picture.notes[box] == f"‖grad‖ {np.linalg.norm(parameter.grad.ravel()):.3g}"
        assert drawing.picture.notes[box] in drawing.svg
    (data,) = [shown for shown in drawing.picture.graph.boxes if shown.flow == "(4, 6)"]
    assert data not in drawing.picture.notes


def test_gradients_need_one_number():
    x = tg.Parameter(np.ones(2))
    with pytest.raises(ValueError, match=r"gradients start from one number, but this is Multiply \(2,\) float64"):
        tg.draw(x * 2, gradients=True)
    with pytest.raises(ValueError, match="depends on no Parameter"):
        tg.draw(np.sum(tg.constant(np.ones(2))), gradients=True)
    with pytest.raises(ValueError, match="one output, but there are 2"):
        tg.draw(x.sum(), x.sum(), gradients=True)


# ---- folding


def test_repetitions_are_folded():
    x = tg.Parameter(np.ones(3), name="x")
    y = x
    for _ in range(1000):
        y = y * 0.9 + np.sin(y)
    boxes = tg.draw(y.sum()).picture.graph.boxes
    (box,) = [shown for shown in boxes if shown.folded]
    assert box.title == "1,000 × 3 ops"
    assert sorted(box.details[0].split(", ")) == ["Add", "Multiply", "Sin"]
    assert sum(len(shown.nodes) for shown in boxes) == len(tg.Tape(y.sum()))


def test_repetitions_with_parameters_of_their_own():
    parameters = [tg.Parameter(np.eye(3), name=f"V{i}") for i in range(40)]
    z = np.ones((2, 3))
    for parameter in parameters:
        z = np.tanh(z @ parameter)
    boxes = tg.draw(z).picture.graph.boxes
    assert {"40 parameters", "40 × 2 ops"} == {shown.title for shown in boxes if shown.folded}
    (many,) = [shown for shown in boxes if shown.title == "40 parameters"]
    assert many.details == ["V0 … V39"]


def test_runs_of_elementwise_ops_are_folded():
    x = tg.Parameter(np.ones(3))
    y = np.exp(np.sin(np.cos(x * 2) + 1) * 3 - 1) / 2
    titles = [shown.title for shown in tg.draw(np.tanh(y) @ x).picture.graph.boxes]
    assert sorted(titles) == ["9 ops in a row", "MatMul", "parameter"]
    assert len(tg.draw((np.tanh(y) @ x), fold=0).picture.graph.boxes) == 11
    titles = [shown.title for shown in tg.draw((np.tanh(y) @ x), np.sin(y)).picture.graph.boxes]
    assert "8 ops in a row" in titles  # what is used twice ends a run


def test_many_inputs_of_one_box_are_folded():
    xs = [tg.Parameter(np.ones(3)) for _ in range(100)]
    boxes = tg.draw(np.stack(xs)).picture.graph.boxes
    assert sorted(shown.title for shown in boxes) == ["100 parameters", "Stack"]


def test_a_chain_of_very_many_nodes():
    y = tg.Parameter(np.array(0.5))
    for _ in range(20_000):
        y = np.sin(y) * 0.9
    drawing = tg.draw(y)
    assert len(drawing.picture.graph.boxes) <= 4
    assert "20,000 × 2 ops" in drawing.svg


def test_too_many_boxes_are_refused():
    y = tg.Parameter(np.array(0.5))
    for _ in range(2001):
        y = np.sin(y)
    with pytest.raises(ValueError, match=r"this graph has 2,002 nodes, in a picture 2,002 boxes, and more than 2,000"):
        tg.draw(y, fold=0)
    with pytest.raises(ValueError, match="fold=1: give 2 or more"):
        tg.draw(y, fold=1)


# ---- files


def test_svg_is_accessible_and_alone():
    root = ElementTree.fromstring(mlp().svg)
    assert root.get("role") == "img"
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Graph of LogSoftmaxNLL"
    assert "17 boxes: 2 data, 6 parameters, 9 ops" in description.text
    assert "%1 = MatMul" not in description.text
    assert "MatMul(%0, array(4, 6)): (5, 6)" in description.text
    text = mlp().svg
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme:dark" in text
    assert mlp().svg == text  # the same graph, the same picture


def test_names_are_escaped():
    w = tg.Parameter(np.ones(2), name='<script>alert("w")</script>&')
    drawing = tg.draw(w * 2)
    assert "<script" not in drawing.svg
    assert any(element.text and "<script>" in element.text for element in ElementTree.fromstring(drawing.svg).iter())
    assert '\\"w\\"' in drawing.dot()


def test_save(tmp_path):
    drawing = mlp()
    drawing.save(tmp_path / "graph.svg")
    drawing.save(str(tmp_path / "graph.dot"))
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == drawing.svg == drawing._repr_svg_()
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == drawing.dot()
    with pytest.raises(ValueError, match=r"saved as \.svg or \.dot, not as 'graph\.png'"):
        drawing.save("graph.png")


def test_dot_has_the_same_boxes_lines_and_groups():
    drawing = mlp()
    text = drawing.dot()
    assert len(re.findall(r"^ *n\d+ \[label=", text, re.M)) == 17
    assert len(re.findall(r"^ *n\d+ -> n\d+ ", text, re.M)) == len(drawing.picture.edges) == 16
    assert re.findall(r'subgraph "cluster (.*?)"', text) == ["layer 1", "layer 2", "layer 3"]
    assert text.count("{") == text.count("}")


def test_draw_needs_nodes():
    with pytest.raises(TypeError, match="draw needs a node"):
        tg.draw()
    with pytest.raises(TypeError, match="expected a node, got ndarray"):
        tg.draw(np.ones(2))


def test_layout_of_nothing_and_of_one():
    assert arrange([], [])[2] == []
    width, height, _ = arrange([Box(50, 20)], [])
    assert width > 50
    assert height > 20
