"""What a detector is, as values: spec, fusion graph, costs, compound scaling, published ones."""
