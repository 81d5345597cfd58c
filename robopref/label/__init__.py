"""The label page: people compare videos of the robot, in a browser or in a terminal."""
