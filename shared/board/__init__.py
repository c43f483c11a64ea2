"""The board: typed pages made from the ledger, without HTML."""
