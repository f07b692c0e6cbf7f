"""What each verb of the command line does: call one function, say what came out and where it was written."""
