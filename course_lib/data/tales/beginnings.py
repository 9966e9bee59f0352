"""Sentence frames for the first half of a tale: who lived where, with whom, and wished for what, and why.

A name in square brackets opens the frames of one kind of sentence, in order of falling probability. Words in braces
are filled in (``slots.py`` says with what); a capital asks for a capital.
"""

from __future__ import annotations

BEGINNINGS = """
[opening]
Once upon a time, {at}, there lived {a_trait} {hero} named {name}.
{Name} was {a_trait} {hero} who lived {at}.
Everyone {at} knew {name}, the {trait} {hero}.
{At} there lived {a_trait} {hero} named {name}.
Nobody {at} was as {trait} as {name} the {hero}.
Have you heard of {name}, the {trait} {hero} {at}?
{A_trait} {hero} named {name} lived all alone {at}.
One spring {a_trait} {hero} called {name} came to live {at}.
A hundred years ago {a_trait} {hero} named {name} lived {at}.
There was once {a_trait} {hero} called {name}, who lived {at}.
There never was {a_hero} so {trait} as {name}, who lived {at}.
They still tell stories {at} about {name}, the {trait} {hero}.
It is said that {a_trait} {hero} named {name} once lived {at}.
This is the tale of {name}, {a_trait} {hero} who was born {at}.
If you had been {at}, you would have met {name}, {a_trait} {hero}.
{Name} the {hero} lived {at}, and {she} was as {trait} as could be.
Far from here, {at}, lived {name}, {a_trait} {hero} with bright eyes.
My grandmother once knew {a_trait} {hero} {at} whose name was {name}.
{At} stood a crooked house, and in it lived {name}, {a_trait} {hero}.
Before there were clocks, {a_trait} {hero} known as {name} lived {at}.
When the world was young, {a_trait} {hero} named {name} kept house {at}.
On the day our story begins, {name}, {a_trait} {hero}, woke up early {at}.
Once there was {a_hero} {at}, and everyone called {him} {name} the {trait}.
Of all who lived {at}, the {hero} {name} was the one people called {trait}.
Come closer, and hear of {name} the {hero}, who was {trait} and lived {at}.
Long ago, {at}, {a_trait} {hero} named {name} had a house with a round door.
Long, long ago, {a_trait} {hero} by the name of {name} made {her} home {at}.
{At}, where nothing much ever happened, lived {a_trait} {hero} named {name}.
In the days when stones could talk, {a_trait} {hero} named {name} lived {at}.
{Name}, {a_trait} {hero}, had lived {at} for as long as anyone could remember.
Not so long ago and not so far away, {at}, lived {a_trait} {hero} named {name}.
Some are rich and some are tall, but {name} the {hero} was {trait} and lived {at}.

[tale.thing]
Once there was {a_trait} {hero} {at} named {name}, who wished for {a_wish}.
Night after night {name}, {a_trait} {hero} {at}, dreamed of {a_wish}.
This is how {name}, {a_trait} {hero} {at}, came to wish for {a_wish}.
{Name} was {a_trait} {hero}, and all {at} knew that {she} wished for {a_wish}.
{At} lived {name}, {a_trait} {hero} who wanted nothing in the world but {a_wish}.
Once upon a time {a_trait} {hero} called {name} sat {at} and longed for {a_wish}.
Long ago {a_trait} {hero} named {name} looked up at the sky {at} and asked for {a_wish}.
Ask anyone {at}, and they will tell you how {name} the {trait} {hero} wished for {a_wish}.
There was once {a_trait} {hero} {at}, {name} by name, whose only wish was to have {a_wish}.
{A_trait} {hero} {at}, whose name was {name}, would have given {her} last button for {a_wish}.

[tale.deed]
Once there was {a_trait} {hero} {at} named {name}, who wished to {do}.
This is how {name}, {a_trait} {hero} {at}, came to wish to {do}.
{Name} was {a_trait} {hero}, and all {at} knew that {she} wished to {do}.
Once upon a time {a_trait} {hero} called {name} sat {at} and longed to {do}.
Night after night {name}, {a_trait} {hero} {at}, dreamed that {she} would {do}.
{At} lived {name}, {a_trait} {hero} who wanted nothing in the world but to {do}.
There was once {a_trait} {hero} {at}, {name} by name, whose only wish was to {do}.
Long ago {a_trait} {hero} named {name} looked up at the sky {at} and asked to {do}.
Ask anyone {at}, and they will tell you how {name} the {trait} {hero} wished to {do}.
{A_trait} {hero} {at}, whose name was {name}, would have given {her} last button to {do}.

[habit]
Every day {name} {habit} and ate {food}.
All day long the {hero} {habit}.
Like {her} mother before {him}, {name} {habit}.
{Name} {habit}, slept well and was fond of {food}.
Day in, day out, {she} {habit}, and nobody ever asked why.
While others complained about the weather, {name} {habit}.
In {season} {she} {habit}, and the days went by like clouds.
When {she} was not busy eating {food}, {name} {habit}.
Most mornings {she} {habit} until it was time for {food}.
{Her} days were all alike, for {she} {habit} and went to bed at eight.
If the sun was out, {she} {habit}, and if not, {she} did it under a roof.
The neighbours shook their heads, because {name} {habit} even in the rain.
Before breakfast the {hero} {habit}, and after breakfast {she} did it again.
{She} {habit}, as every {hero} does, and shared {her} {food} with nobody.
On good days {name} {habit}, and on bad days {she} only thought of {food}.
For a bowl of {food} {name} would do anything, and otherwise {she} {habit}.
In the afternoon the {hero} {habit}, and then {she} made {food} for supper.
{She} owned a spoon, a pillow and a jar of {food}, and every day {she} {habit}.
The table was never without {food}, and {name} {habit} to {her} heart's content.
From Monday to Saturday {name} {habit}, and on Sunday {she} had {food} for lunch.

[friend]
{Her} best friend was {a_kind} named {friend}.
{A_kind} named {friend} was {her} only friend.
Wherever {name} went, {friend} the {kind} went too.
{Name} and {friend} the {kind} did everything together.
There was also {friend}, {a_kind} no bigger than a bean.
{Friend} the {kind} brought {him} the gossip every morning.
In {her} pocket slept {friend}, the smallest {kind} you ever saw.
{She} shared {her} home with {a_kind} called {friend}, who snored.
It was {friend} the {kind} who kept {name} company in the evenings.
Next door lived {friend}, {a_kind} with an opinion about everything.
On {her} shoulder sat {friend} the {kind}, who was afraid of nothing.
If there was one creature {name} trusted, it was {friend} the {kind}.
{She} was never lonely, because {friend} the {kind} lived in {her} hat.
With {him} lived {a_kind} by the name of {friend}, who knew all the news.
{Her} oldest friend, {a_kind} named {friend}, came to supper every Friday.
Nobody understood {him} as well as {friend}, the {kind} from under the stairs.
{Her} friends were few, but one of them was {friend}, {a_kind} with a golden heart.
{Name} had once saved {a_kind} named {friend} from a puddle, and they had been friends ever since.

[wish.thing]
More than anything, {name} wished for {a_wish}.
{She} could think of nothing but {a_wish}.
"If only I had {a_wish}," sighed the {hero}.
"I wish I had {a_wish}," {name} told the moon.
Deep in {her} heart {she} longed for {a_wish}.
It was no secret that {name} pined for {a_wish}.
Yet {name} would have traded it all for {a_wish}.
What {she} wanted most in all the world was {a_wish}.
{She} threw a penny down a well and asked for {a_wish}.
{Name} had only one wish, and that was to have {a_wish}.
"One day I will have {a_wish}," {name} told {her} pillow.
But something was missing, and {name} knew what: {a_wish}.
Ever since {she} was little, {name} had dreamed of {a_wish}.
On {her} birthday {she} closed {her} eyes and wished for {a_wish}.
{Name} wrote {her} wish on a scrap of paper, and it said: {a_wish}.
"Is it too much to ask for {a_wish}?" sighed {name} to the ceiling.
Every night {she} looked up at the first star and wished for {a_wish}.
A shooting star fell, and quick as a flash {name} wished for {a_wish}.
There was a hole in {her} happiness, and it had the shape of {a_wish}.
In {her} dreams {name} always had {a_wish}, and in the morning there was nothing there.

[wish.deed]
More than anything, {name} wished to {do}.
Deep in {her} heart {she} longed to {do}.
"If only I could {do}," sighed the {hero}.
"I wish I could {do}," {name} told the moon.
Yet {name} would have traded it all to {do}.
{She} could think of nothing but how to {do}.
{Name} had only one wish, and that was to {do}.
"One day I will {do}," {name} told {her} pillow.
It was no secret that {name} was burning to {do}.
{She} threw a penny down a well and asked to {do}.
What {she} wanted most in all the world was to {do}.
On {her} birthday {she} closed {her} eyes and wished to {do}.
"Is it too much to ask to {do}?" sighed {name} to the ceiling.
But {her} heart was set on one thing, and that was how to {do}.
Every night {she} looked up at the first star and wished to {do}.
A shooting star fell, and quick as a flash {name} wished to {do}.
In {her} dreams {name} could {do}, and in the morning it was over.
{Name} wrote {her} wish on a scrap of paper, and it said: to {do}.
There was a hole in {her} happiness, and only to {do} would fill it.
Ever since {she} was little, {name} had dreamed that {she} would {do}.

[reason.thing]
With {a_wish}, {she} could {use}.
Then at last {she} could {use}, {she} thought.
How else, thought {name}, was {she} ever to {use}?
Only with {a_wish} could {a_hero} hope to {use}.
Think of it, {she} told {herself}, {a_hero} who can {use}!
{She} wanted to {use}, and for that one needs {a_wish}.
{She} had already planned the day on which {she} would {use}.
For {she} had seen somebody {use} once, and never forgotten it.
Whoever has {a_wish} can {use}, and nothing sounded better to {him}.
"With {a_wish}, I would {use}," {name} explained to anyone who listened.

[reason.deed]
Then {she} would {use}, and {her} life would be complete.
After that, {she} thought, {she} would {use}.
It would be grand to {use} for once, thought the {hero}.
{Her} plan was to {do} first and to {use} afterward.
For whoever can {do}, thought {name}, can also {use}.
{She} had practised how to {use}, and only the chance was missing.
{Name} imagined how {she} would {use}, and {her} heart beat faster.
"And then I will {use}," {she} added, for {she} had thought it all out.
"You will see, I shall {use} before I am old," {she} told the neighbours.
"When I can {do}, I will {use} too," {name} said to anyone who listened.
"""
