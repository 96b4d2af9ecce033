"""Start a kernel as Colab does: its own package and these modules are imported before any cell."""

import google.colab
import IPython
import ipywidgets
import matplotlib.pyplot
import numpy
import PIL.Image
import psutil
import tornado
from ipykernel import kernelapp

IMPORTED = (google.colab, IPython, ipywidgets, matplotlib, numpy, PIL, psutil, tornado)

if __name__ == "__main__":
    kernelapp.launch_new_instance()
