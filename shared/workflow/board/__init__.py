"""What the board shows: typed pages made from the ledger, without any HTML."""
