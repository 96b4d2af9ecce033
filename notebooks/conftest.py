"""What nbval leaves out when it compares a cell with its stored output."""


def pytest_collectstart(collector):
    """Leave out stderr: warnings and progress bars differ from machine to machine."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
