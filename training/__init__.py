"""Post-training: from what users played to the next champion."""
