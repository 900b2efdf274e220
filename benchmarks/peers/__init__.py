"""rille beside other programs that do the same work: same networks, same frames, in turns."""
