"""What scanners find in images: reports of any format in one model, and the judgement of them. Pure."""
