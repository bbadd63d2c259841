"""What is fast, measured side by side in one run: each module prints JSON, none is part of the tests."""
