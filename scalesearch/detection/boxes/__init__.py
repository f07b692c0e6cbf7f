"""From a detector's outputs to boxes and back: anchors, matching, losses, decoding, what was found and missed."""
