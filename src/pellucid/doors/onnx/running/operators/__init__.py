"""The operators, a topic a file.  Every module in this folder is imported when the first model is built.

To add one, write a function in the file of its topic (or in a new file: nothing else has to be told about it):

    @operator("Softmax", since=13)
    def softmax(node: Node, x: Tensor) -> Tensor:
        return F.softmax(x, node.get("axis", -1))

- The name, the domain (`domain="com.microsoft"`) and the operator set since which it means this.  A model of an older
  set gets the newest function whose `since` is not newer than that; one for which there is none is reported as unknown.
- `node` is the module of the operation: `node.get(attribute, default)` reads an attribute (int, float, str, tuples of
  them, `Weights` for a tensor), `node.op` the operator's name, `node.version` its operator set, `node.wants(1)` whether
  anything reads its second output, `node.count` how many outputs it has.
- Inputs come as tensors, an absent optional one as None, sequences as lists, strings as NumPy arrays of objects.
  Give later optional inputs a default of None.  Return a tensor, or a tuple for several outputs.
- End in torch's own functions (`F.conv2d`, `torch.matmul`, `F.relu`): then every way backwards knows the operation, and
  gradients flow.  Never read a number out of data that can vary.  `read=(1,)` says that the second input is a shape,
  axes or a size; it may come as a tensor or as Python's numbers, so ask `ints(x)`, `one(x)` or `axes(node, x)` of
  values.py.  `shapely=True`: models also compute shapes with this operator.
- Random numbers come from `current().generator(...)` only.  Raise `BadModel` for what cannot be done, naming it.
- Subgraphs (`If`, `Loop`) are child modules: `node.subgraph("then_branch")(*inputs, *captured)`, see control.py.

tests/test_onnx_nodes.py runs the official cases and counts them; tests/onnx_nodes.json says why some do not pass.
"""
