"""mobileq: from a trained equivariant CNN to verified INT8 files on a phone."""

import warnings

__version__ = "0.1.0"

# escnn warns at import that py3nj is missing, which it needs in three dimensions only.
warnings.filterwarnings("ignore", message=".*py3nj.*", category=UserWarning)
