"""What research pages compute, outside the process that draws them.

A page asks a *question*: a frozen struct whose tag is the page's name. A process of its own answers it with named
tables, tells how far it is, and stops when nobody wants the answer any more. `dpdau figure` answers the same question
from a file, so a page and its reproduction run the same code.
"""
