"""The functions around the workflow; none of them imports the durable SDK."""
