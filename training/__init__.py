"""Post-training: from logged impressions to a checkpoint that scores better."""
