"""Numbers that other libraries computed, and the programs that wrote them down."""
