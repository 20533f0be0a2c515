"""Whether an event may be sent: what this process can see of it (layers 1 to 5), and the decision.

Reading is all that is done here; nothing is created and no socket is opened. The cases in
``tests/vectors/consent`` of the project hold this to the Rust client.
"""
