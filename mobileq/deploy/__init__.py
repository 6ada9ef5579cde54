"""The whole way: a trained network goes in, a verified bundle comes out.

`export_checkpoint` is what `mobileq export` calls; `export_module` is what is behind
`mobileq.export`, the door for a network of one's own:

    from mobileq.deploy import export_module
    bundle = export_module(my_escnn_network, (3, 95, 95), out=Path("mine.mobileq"))
"""

from mobileq.deploy.climb import climb
from mobileq.deploy.export import export_checkpoint, export_module
from mobileq.deploy.files import Deployment, deploy

__all__ = ["Deployment", "climb", "deploy", "export_checkpoint", "export_module"]
